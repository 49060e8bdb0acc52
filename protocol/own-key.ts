import { KeyturnError } from '../contracts/errors.ts'

interface KeyRow {
  readonly origin: 'generated' | 'registered' | 'environment'
  readonly label: string
  /** A BSON binary. */
  readonly key_id: { toString(encoding: 'hex'): string } | null
}

/** Null for a key that keyturn made in an HSM; for every other one the refusal to destroy it. */
export function ownKeyRefusal(row: KeyRow): KeyturnError | null {
  if (row.origin === 'generated') return null
  const id = row.key_id === null ? 'none' : row.key_id.toString('hex')
  return new KeyturnError(
    'removal-refused',
    `the key "${row.label}" (id ${id}) was not made by keyturn, so keyturn does not destroy it`,
    { hint: 'leave --destroy-hsm-key out, and let its administrator destroy it afterwards' },
  )
}
