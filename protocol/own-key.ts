import { KeyturnError } from '../contracts/errors.ts'

interface KeyRow {
  readonly origin: 'generated' | 'registered' | 'environment'
  readonly label: string
  /** The key came with a copy: the original needs it. */
  readonly of_original?: boolean
  /** A BSON binary. */
  readonly key_id: { toString(encoding: 'hex'): string } | null
}

/** The CKA_ID of a generated key begins with this many hex digits of the id of the keystore that made it. */
export const keyIdDigits = 16

/**
 * Null for a key that this keystore made in an HSM; for any other key the refusal to destroy it. Both the row and the
 * key's id show that a key came with a copy, because rows of a dump may be restored later without that mark.
 */
export function ownKeyRefusal(row: KeyRow, keystore: { readonly id: string }): KeyturnError | null {
  const id = row.key_id === null ? 'none' : row.key_id.toString('hex')
  if (row.origin !== 'generated') {
    return new KeyturnError(
      'removal-refused',
      `the key "${row.label}" (id ${id}) was not made by keyturn, so keyturn does not destroy it`,
      { hint: 'leave --destroy-hsm-key out, and let its administrator destroy it afterwards' },
    )
  }
  const isOurs = row.of_original !== true && id.startsWith(keystore.id.slice(0, keyIdDigits))
  if (isOurs) return null
  return new KeyturnError(
    'removal-refused',
    `the key "${row.label}" (id ${id}) came with a copy: the original needs it`,
    { hint: 'leave --destroy-hsm-key out: it is destroyed from the original' },
  )
}
