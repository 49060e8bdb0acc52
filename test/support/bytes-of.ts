import { createHash } from 'node:crypto'
import type { Store } from '../../store/store.ts'
import { places } from './fleet-records.ts'

/** A digest of every byte of every record, to detect any write. */
export async function bytesOfRecords(store: Store): Promise<string> {
  const hash = createHash('sha256')
  for (const { collection } of places) {
    const documents = store.db
      .collection(collection)
      .find<Buffer>({}, { raw: true, sort: { _id: 1 }, readConcern: 'majority' })
    for await (const document of documents) hash.update(document)
  }
  return hash.digest('hex')
}
