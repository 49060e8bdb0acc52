import { KeyturnError } from '../contracts/errors.ts'
import { reasonOf } from '../contracts/reasons.ts'
import type { Canary } from '../contracts/kek.ts'
import { kekDescriptor, readVersions, takeBackInstall } from '../store/kek-versions.ts'
import type { ActivityDeps } from './deps.ts'

/** A key in the token or the environment; `keyId` null for any id, and for `env`. */
export interface NamedKey {
  label: string
  keyId: Buffer | null
}

/**
 * A new version needs a new key: the key tries to open the canary of every other version, also of destroyed ones, since
 * their envelopes may be in a backup. A rotation between two versions of one key would change nothing.
 * Throws key-exists, naming the version whose key it is.
 */
export async function requireNewKey(
  { store, provider }: Pick<ActivityDeps, 'store' | 'provider'>,
  version: number,
  { label, keyId }: NamedKey,
): Promise<void> {
  for (const row of await readVersions(store)) {
    const kek = row._id === version ? null : kekDescriptor(row)
    if (kek === null || !(await provider.ceremony.opensCanary(label, keyId, kek))) continue
    const state = row.destroyed_at === null ? '' : ', which was destroyed'
    throw new KeyturnError(
      'key-exists',
      `the key "${label}" of version ${version} is the key of version ${row._id}${state}`,
      { hint: 'a new version needs new key material: have another key made' },
    )
  }
}

/**
 * The same check after the version is in the keystore: of two concurrent installations of one key, each now sees the other.
 * It turns its version back into an intent before it throws.
 */
export async function requireStillNew(
  deps: Pick<ActivityDeps, 'store' | 'provider'>,
  version: number,
  made: NamedKey & { canary: Canary; requestedBy: string; madeBy: string },
): Promise<void> {
  try {
    await requireNewKey(deps, version, made)
  } catch (error) {
    await takeBackInstall(deps.store, version, made.canary, { ...made, reason: reasonOf(error) })
    throw error
  }
}
