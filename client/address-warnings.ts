import type { Config } from '../contracts/settings.ts'
import { addressNotes } from '../store/mongodb-address.ts'

/** A sentence for each option of the MongoDB address that does not count as written. */
export function addressWarnings({ mongodb }: Config): readonly string[] {
  return addressNotes(mongodb.uri)
}
