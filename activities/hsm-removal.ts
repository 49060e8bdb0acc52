import { KeyturnError } from '../contracts/errors.ts'
import type { RemovalStep, RemoveInput } from '../contracts/removal.ts'
import { ownKeyRefusal } from '../protocol/own-key.ts'
import { hsmKeyOf } from '../protocol/removal-phase.ts'
import { remainingOf } from '../store/census.ts'
import { requireCollections } from '../store/collections.ts'
import type { VersionDoc } from '../store/documents.ts'
import { readActive } from '../store/kek-active.ts'
import { readSettings } from '../store/kek-settings.ts'
import { kekDescriptor } from '../store/kek-versions.ts'
import { recordHsmKey, recordKeyDestroying, sharesKey } from '../store/version-removal.ts'
import type { ActivityDeps } from './deps.ts'
import { approvalUse } from './removal-approval.ts'
import { requireRequest, stepOf } from './removal-requests.ts'
import { requireIdentity, requireInstalled, requireSettings } from './settings.ts'

/**
 * Destroys the HSM object of a destroyed version if its request says so. Rows can be edited, and an object cannot be
 * restored. So the recorded settings, with the approvals that are needed, must be those of this process's file, the key must
 * be ours, no other row may name its label or id, no envelope may be under the version, and the object must open this
 * version's canary right before it is destroyed. Throws if a check fails; then nothing is done.
 */
export async function destroyHsmKey(deps: ActivityDeps, input: RemoveInput): Promise<RemovalStep> {
  const { store, provider, node } = deps
  const request = await requireRequest(deps, input)
  const now = () => new Date()
  const before = await stepOf(deps, input, now)
  if (before.phase !== 'key') return before
  const row = await requireInstalled(store, request.version)
  const outcome = hsmKeyOf(row)
  if (outcome === 'kept' || outcome === 'absent') {
    await requireOwnSettings(deps)
    await requireNotNeeded(deps, row)
    const kek = kekDescriptor(row)
    const keyId = row.key_id === null ? null : Buffer.from(row.key_id.value())
    if (kek === null || keyId === null) throw refused(row, 'its row names no key in an HSM')
    const approve = await approvalUse(deps, request)
    if (!(await recordKeyDestroying(store, request._id, node, approve))) return before
    const gone = await provider.ceremony.destroy(row.label, keyId, kek)
    await recordHsmKey(store, request._id, gone, node)
  } else {
    // Nothing to do: another request destroyed the key, or the provider has no keys to destroy.
    await recordHsmKey(store, request._id, outcome, node)
  }
  return await stepOf(deps, input, now)
}

async function requireOwnSettings({ store, member, node }: ActivityDeps): Promise<void> {
  const recorded = await readSettings(store)
  if (recorded !== null && member.settingsHash.equals(recorded.sha256.value())) return
  throw new KeyturnError('config-differs', `settings differ on ${node}`, {
    hint: 'align its keyturn.yaml with what setup recorded, restart it, then repeat the command',
  })
}

async function requireNotNeeded({ store }: ActivityDeps, row: VersionDoc): Promise<void> {
  const foreign = ownKeyRefusal(row, await requireIdentity(store))
  if (foreign !== null) throw foreign
  const { collections } = await requireSettings(store)
  if ((await readActive(store))?.version === row._id) throw refused(row, 'the version is active')
  const other = await sharesKey(store, row)
  if (other !== null) throw refused(row, `version ${other} names the same label or id`)
  const remaining = await remainingOf(store, collections, row._id)
  if (remaining > 0) throw refused(row, `${remaining} envelopes are under the version`)
  // Read after the count: a collection that is lost counts as none.
  await requireCollections(store, collections)
}

function refused(row: VersionDoc, why: string): KeyturnError {
  return new KeyturnError('removal-refused', `the key "${row.label}" is not destroyed: ${why}`, {
    hint: `keyturn status shows the versions; look at the row of version ${row._id}`,
  })
}
