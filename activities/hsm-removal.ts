import { KeyturnError } from '../contracts/errors.ts'
import type { RemovalStep, RemoveInput } from '../contracts/removal.ts'
import { ownKeyRefusal } from '../protocol/own-key.ts'
import { hsmKeyOf } from '../protocol/removal-phase.ts'
import { remainingOf } from '../store/census.ts'
import type { VersionDoc } from '../store/documents.ts'
import { readActive } from '../store/kek-active.ts'
import { kekDescriptor, recordHsmKey, sharesKey } from '../store/kek-versions.ts'
import { closeRemoval } from '../store/removal-requests.ts'
import type { ActivityDeps } from './deps.ts'
import { auditStep, requireRequest, stepOf } from './removal-requests.ts'
import { requireInstalled, requireSettings } from './settings.ts'

/**
 * The object in the HSM of a version that is destroyed, where its request says so. Rows can be edited, and an object does
 * not come back: so the key must be ours, no other row may name its label or id, nothing may be under the version, and the
 * object itself must open this version's canary, right before it goes. Throws what speaks against it; then nothing is done.
 */
export async function destroyHsmKey(deps: ActivityDeps, input: RemoveInput): Promise<RemovalStep> {
  const { store, provider } = deps
  const request = await requireRequest(deps, input)
  const now = () => new Date()
  const before = await stepOf(deps, input, now)
  if (before.phase !== 'key') return before
  const row = await requireInstalled(store, request.version)
  const outcome = hsmKeyOf(row)
  if (outcome === 'kept' || outcome === 'absent') {
    await requireNotNeeded(deps, row)
    const kek = kekDescriptor(row)
    const keyId = row.key_id === null ? null : Buffer.from(row.key_id.value())
    if (kek === null || keyId === null) throw refused(row, 'its row names no key in an HSM')
    const gone = await provider.ceremony.destroy(row.label, keyId, kek)
    await recordHsmKey(store, row._id, gone)
    const action = gone === 'destroyed' ? 'hsm-key-destroyed' : 'hsm-key-absent'
    await auditStep(deps, request, action, { label: row.label, id: keyId.toString('hex') })
  }
  await closeRemoval(store, request._id)
  return await stepOf(deps, input, now)
}

async function requireNotNeeded({ store }: ActivityDeps, row: VersionDoc): Promise<void> {
  const foreign = ownKeyRefusal(row)
  if (foreign !== null) throw foreign
  const { collections, removal } = await requireSettings(store)
  if (removal.approvalsRequired > 0) {
    throw new KeyturnError('approval-missing', `0 of ${removal.approvalsRequired} approvals`)
  }
  if ((await readActive(store))?.version === row._id) throw refused(row, 'the version is active')
  const other = await sharesKey(store, row)
  if (other !== null) throw refused(row, `version ${other} names the same label or id`)
  const remaining = await remainingOf(store, collections, row._id)
  if (remaining > 0) throw refused(row, `${remaining} envelopes are under the version`)
}

function refused(row: VersionDoc, why: string): KeyturnError {
  return new KeyturnError('removal-refused', `the key "${row.label}" is not destroyed: ${why}`, {
    hint: `keyturn status shows the versions; look at the row of version ${row._id}`,
  })
}
