import { createHash } from 'node:crypto'
import type { ApprovalSubject } from '../contracts/approvals.ts'
import type { RemovalOptions } from '../contracts/removal.ts'
import type { CollectionConfig } from '../contracts/settings.ts'
import { readRules } from './approval-use.ts'
import { remainingOf } from './census.ts'
import { keystore } from './keystore.ts'
import type { Store } from './store.ts'

/**
 * What a removal needs approvals for; its options are resolved only if approvals are needed. `census`: envelopes under the
 * version, without those in quarantine. `acceptQuarantine`: the quarantine rows that the removal would lose; null without
 * the option.
 */
export async function removalSubject(
  store: Store,
  version: number,
  { destroyHsmKey, acceptQuarantine, withoutFence }: RemovalOptions,
  collections: readonly CollectionConfig[],
): Promise<ApprovalSubject> {
  const named = { action: 'remove', subject: `v${version}` } as const
  if ((await readRules(store)).remove === 0) return { ...named, options: {} }
  return {
    ...named,
    options: {
      acceptQuarantine: acceptQuarantine ? await quarantineOf(store, version) : null,
      census: await remainingOf(store, collections, version),
      destroyHsmKey,
      withoutFence,
    },
  }
}

/** The quarantine rows of a version and of odd envelopes, and a SHA-256 over their ids and bytes' digests, in any order. */
async function quarantineOf(
  store: Store,
  version: number,
): Promise<{ rows: number; sha256: string }> {
  const rows = await keystore
    .quarantine(store)
    .find<Buffer>(
      { kek_version: { $in: [version, null] } },
      // Raw: an id of another BSON type is another id.
      { raw: true, projection: { _id: 1, kek_version: 1, digest: 1, count: 1 } },
    )
    .toArray()
  const hashes = rows.map((row) => createHash('sha256').update(row).digest('hex')).sort()
  return { rows: rows.length, sha256: createHash('sha256').update(hashes.join('\n')).digest('hex') }
}
