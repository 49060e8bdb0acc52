import type { Guard } from '../contracts/views.ts'
import { removalFacts } from '../protocol/removal-facts.ts'
import { removalGuards } from '../protocol/removal-guards.ts'
import type { RemovalRequestDoc } from '../store/documents.ts'
import { readApproval } from '../store/approval-use.ts'
import { readSettings } from '../store/kek-settings.ts'
import { quarantineOdd } from '../store/odd-quarantine.ts'
import { readForRemoval } from '../store/removal-reading.ts'
import { closeIdleRanges } from '../store/range-takeover.ts'
import { recheckQuarantine } from '../store/rewrap-quarantine.ts'
import type { Store } from '../store/store.ts'
import type { ControlDeps } from './deps.ts'
import { approvalSubject } from './removal-approval.ts'
import { requireInstalled, requireSettings } from './settings.ts'

/**
 * Evaluates all guards of a request from MongoDB. With `fenced` it is the final check: the fence should be up, and ranges
 * that could write under the version are closed first, since a page may be in flight.
 */
export async function evaluateGuards(
  { store }: ControlDeps,
  request: RemovalRequestDoc,
  { fenced, ownNow }: { fenced: boolean; ownNow: () => Date },
): Promise<Guard[]> {
  const { version } = request
  const { collections } = await requireSettings(store)
  if (fenced) await closeIdleRanges(store, version)
  await recheckQuarantine(store, version)
  await quarantineOdd(store, collections, null)
  return await readGuards(store, request, { fenced, ownNow })
}

/** The guards of a request as they are now. Reads only. */
export async function readGuards(
  store: Store,
  request: RemovalRequestDoc,
  { fenced, ownNow }: { fenced: boolean; ownNow: () => Date },
): Promise<Guard[]> {
  const { version } = request
  const { collections, removal } = await requireSettings(store)
  const row = await requireInstalled(store, version)
  const reading = await readForRemoval(store, version, collections)
  const approval = await readApproval(store, await approvalSubject(store, request), {
    usedFor: request._id,
  })
  const facts = removalFacts(
    { ...reading, row: reading.row ?? row },
    {
      fenced,
      ownNow: ownNow(),
      settings: (await readSettings(store))?.sha256.toString('hex') ?? null,
      backupWindowMs: removal.backupWindowMs,
      approvalsRequired: approval.required,
      approvedBy: approval.by,
      acceptQuarantine: request.accept_quarantine,
      withoutFence: request.without_fence,
    },
  )
  return removalGuards(facts)
}
