import type { ApprovalAction, ApprovalState } from '../contracts/approvals.ts'

/** `kek_requests`: a request for approvals. At most one is open for an action, its subject and its options. */
export interface ApprovalRequestDoc {
  _id: string
  action: ApprovalAction
  subject: string
  /** Members in the order of their names; JSON types only. */
  options: Record<string, unknown>
  requested_by: string
  requested_at: Date
  expires_at: Date
  /** As they were given; each is verified again when it counts. */
  approvals: { name: string; signature: string; at: Date }[]
  state: ApprovalState
  /** The removal, the rotation or the settings' hash that it was used for; null: not used. */
  used_for: string | null
  used_at: Date | null
}
