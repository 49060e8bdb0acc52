import { ApprovalMissing, type ApprovalSubject } from '../../contracts/approvals.ts'
import { openRequest } from '../../store/approval-requests.ts'
import { readApproval, readRules } from '../../store/approval-use.ts'
import type { Keystore } from '../keystore.ts'
import { requester } from '../temporal/names.ts'
import { requestView } from './view.ts'

/**
 * Returns when an action needs no approvals or has enough. Otherwise opens a request, or finds the open one, and throws
 * ApprovalMissing. What acts verifies the approvals again. `usedFor`: a removal that may have used a request.
 */
export async function requireApproval(
  { store }: Keystore,
  wanted: ApprovalSubject,
  usedFor?: string,
): Promise<void> {
  const { required, by } = await readApproval(store, wanted, { usedFor })
  if (by.length >= required) return
  const { expiresMs } = await readRules(store)
  const row = await openRequest(store, wanted, { by: requester(), expiresMs })
  throw new ApprovalMissing(await requestView(store, row))
}
