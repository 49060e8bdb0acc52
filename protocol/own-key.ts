import { KeyturnError } from '../contracts/errors.ts'

interface KeyRow {
  readonly origin: 'generated' | 'registered' | 'environment'
  readonly label: string
  /** A BSON binary. */
  /** It came with a copy: the original needs it. */
  readonly of_original?: boolean
  readonly key_id: { toString(encoding: 'hex'): string } | null
}

/** Null for a key that this keystore made in an HSM; for every other one the refusal to destroy it. */
export function ownKeyRefusal(row: KeyRow): KeyturnError | null {
  if (row.origin === 'generated' && row.of_original !== true) return null
  const id = row.key_id === null ? 'none' : row.key_id.toString('hex')
  if (row.of_original === true) {
    return new KeyturnError(
      'removal-refused',
      `the key "${row.label}" (id ${id}) came with a copy: the original needs it`,
      { hint: 'leave --destroy-hsm-key out: it is destroyed from the original' },
    )
  }
  return new KeyturnError(
    'removal-refused',
    `the key "${row.label}" (id ${id}) was not made by keyturn, so keyturn does not destroy it`,
    { hint: 'leave --destroy-hsm-key out, and let its administrator destroy it afterwards' },
  )
}
