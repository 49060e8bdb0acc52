import type { ApprovalSubject } from '../contracts/approvals.ts'
import { recheckApproval, useOrRecheckApproval } from '../store/approval-use.ts'
import type { RemovalRequestDoc } from '../store/documents.ts'
import { removalSubject } from '../store/removal-approval.ts'
import type { InRemoval } from '../store/version-removal.ts'
import type { Store } from '../store/store.ts'
import type { ControlDeps } from './deps.ts'
import { requireSettings } from './settings.ts'

/** What a removal's row needs approvals for, from MongoDB as it is now. */
export async function approvalSubject(
  store: Store,
  request: RemovalRequestDoc,
): Promise<ApprovalSubject> {
  const { collections } = await requireSettings(store)
  const options = {
    destroyHsmKey: request.destroy_hsm_key,
    acceptQuarantine: request.accept_quarantine,
    withoutFence: request.without_fence,
  }
  return await removalSubject(store, request.version, options, collections)
}

/**
 * For the transaction of the first step, and of the one that begins to destroy the HSM's key: uses the request that fits, or
 * verifies the one that the removal used.
 */
export async function approvalUse(
  { store }: ControlDeps,
  request: RemovalRequestDoc,
): Promise<InRemoval> {
  const wanted = await approvalSubject(store, request)
  const use = { usedFor: request._id, by: request.requested_by }
  return async (session) => {
    await useOrRecheckApproval(store, wanted, use, session)
  }
}

/** For the transaction of the last step: verifies again what the first one used. */
export async function approvalRecheck(
  { store }: ControlDeps,
  request: RemovalRequestDoc,
): Promise<InRemoval> {
  const wanted = await approvalSubject(store, request)
  return async (session) => {
    await recheckApproval(store, wanted, request._id, session)
  }
}
