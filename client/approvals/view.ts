import type { ApprovalRequestView } from '../../contracts/approvals.ts'
import { approvalDigest, approvalText } from '../../store/approval-text.ts'
import { approversOf, readRules } from '../../store/approval-use.ts'
import type { ApprovalRequestDoc } from '../../store/approval-document.ts'
import { readInstall } from '../../store/kek-install.ts'
import { serverNow, type Store } from '../../store/store.ts'

/** A request as commands show it, its approvals verified now. One whose time is over is shown as expired. */
export async function requestView(
  store: Store,
  row: ApprovalRequestDoc,
): Promise<ApprovalRequestView> {
  const rules = await readRules(store)
  const text = approvalText((await readInstall(store))?.id ?? '', row)
  const isOver = row.state === 'open' && row.expires_at <= (await serverNow(store))
  return {
    id: row._id,
    action: row.action,
    subject: row.subject,
    options: row.options,
    text,
    digest: approvalDigest(text),
    required: rules[row.action],
    approvedBy: await approversOf(store, row, rules),
    requestedBy: row.requested_by,
    requestedAt: row.requested_at.toISOString(),
    expiresAt: row.expires_at.toISOString(),
    state: isOver ? 'expired' : row.state,
  }
}
