import { KeyturnError } from '../contracts/errors.ts'
import type { InstallInput } from '../contracts/install.ts'
import type { VersionDoc } from '../store/documents.ts'
import { keyTaken, type Intent } from '../store/kek-versions.ts'
import type { Store } from '../store/store.ts'

/**
 * A key belongs to one version for ever: a rotation between two versions of one key would change nothing, and a destroyed
 * version's key must not return under another number. Throws version-exists.
 */
export async function requireUnused(
  store: Store,
  intent: Pick<Intent, 'version' | 'label' | 'keyId'>,
): Promise<void> {
  const taken = await keyTaken(store, intent)
  if (taken !== null) throw taken
}

/** An unfinished installation must be finished with the same key: otherwise a key would be made or left by mistake. Throws version-exists. */
export function requireSameIntent(row: VersionDoc, intent: Intent): void {
  const { version, label, origin, keyId } = intent
  const isSameKey = row.label === label && idOf(row) === hex(keyId)
  if (row.origin === origin && (origin !== 'registered' || isSameKey)) return
  const begun =
    row.origin === 'registered'
      ? `keyturn pkcs11-register --version ${version} --label "${row.label}"`
      : `keyturn pkcs11-init --version ${version}`
  throw new KeyturnError(
    'version-exists',
    `version "${version}" was begun with another key, "${row.label}", and is not finished`,
    { hint: `finish it (${begun}), or take the next number` },
  )
}

/** Refuses an installed version if the caller names another key. Throws version-exists. */
export function requireRequestedKey(
  row: VersionDoc,
  { version, label, keyId }: InstallInput,
): void {
  const isLabel = label === null || label === row.label
  const isId = typeof keyId !== 'string' || keyId.toLowerCase() === idOf(row)
  if (isLabel && isId) return
  const id = idOf(row)
  throw new KeyturnError(
    'version-exists',
    `version "${version}" is installed with key "${row.label}"${id === null ? '' : ` (id ${id})`}`,
    { hint: 'a version never changes its key: take the next number' },
  )
}

function idOf(row: VersionDoc): string | null {
  return row.key_id === null ? null : hex(row.key_id.buffer)
}

function hex(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes).toString('hex')
}
