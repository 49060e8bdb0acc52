import { ApprovalMissing } from '../../contracts/approvals.ts'
import { refusalOf } from '../../protocol/removal-guards.ts'
import { hsmKeyOf } from '../../protocol/removal-phase.ts'
import { readApproval, readRules } from '../../store/approval-use.ts'
import { quarantineOdd } from '../../store/odd-quarantine.ts'
import { removalSubject } from '../../store/removal-approval.ts'
import { currentRemoval } from '../../store/removal-requests.ts'
import { recheckQuarantine } from '../../store/rewrap-quarantine.ts'
import type { Keystore } from '../keystore.ts'
import { guardsNow } from '../preview-removal.ts'
import type { RemovalReply, RemoveRequest } from '../removal-reply.ts'
import { fromReport } from '../temporal/failures.ts'
import { usesOf } from '../views/uses.ts'
import { requireVersion } from '../views/versions.ts'
import { requireApproval } from './require.ts'

/**
 * Null when a removal needs no approvals or has enough; the steps verify them again. Otherwise the refusal: with a request
 * for approvals, if every other guard passes or will pass with time.
 */
export async function approvalsFor(
  keystore: Keystore,
  request: RemoveRequest,
): Promise<RemovalReply | null> {
  const { store, settings } = keystore
  const { version } = request
  if ((await readRules(store)).remove === 0) return null
  const standing = await currentRemoval(store, version)
  // It used its approvals: its last step verifies them.
  if (standing?.state === 'requested') return null
  if (request.acceptQuarantine) {
    // As the steps do, so that exactly what they find is approved.
    await recheckQuarantine(store, version)
    await quarantineOdd(store, settings.collections, null)
  }
  const subject = await removalSubject(store, version, request, settings.collections)
  const { required, by } = await readApproval(store, subject, { usedFor: standing?._id })
  if (by.length >= required) return null
  const { row, state } = await requireVersion(store, version)
  const guards = state === 'destroyed' ? [] : await guardsNow(keystore, version, request)
  const uses = await usesOf(store, row)
  const view = { version, state, dueAt: null, hsmKey: hsmKeyOf(row), uses, guards }
  const others = guards.filter(({ guard }) => guard !== 'approvals')
  const refusal = refusalOf(
    version,
    others.filter(({ ok, until }) => !ok && until === undefined),
  )
  if (refusal !== null) {
    return { view, error: fromReport(refusal, 'removal-refused'), leftover: null }
  }
  try {
    await requireApproval(keystore, subject, standing?._id)
    return null
  } catch (error) {
    if (!(error instanceof ApprovalMissing)) throw error
    return { view, error, leftover: null, request: error.request }
  }
}
