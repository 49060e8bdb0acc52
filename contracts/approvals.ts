import { KeyturnError } from './errors.ts'

/** Requests for approvals: docs/approvals.md. */

/** The actions that can need approvals; the numbers in the section `approvals` have the same names. */
export type ApprovalAction = 'remove' | 'rotate' | 'settings' | 'store'

export type ApprovalState = 'open' | 'used' | 'withdrawn' | 'expired'

/** What is asked for. A request fits exactly one of these. */
export interface ApprovalSubject {
  action: ApprovalAction
  /** What it is done to: `v1`, or `settings`. */
  subject: string
  /** The resolved options; JSON types only. */
  options: Readonly<Record<string, unknown>>
}

/** A request in JSON. */
export interface ApprovalRequestView {
  id: string
  action: ApprovalAction
  subject: string
  options: Readonly<Record<string, unknown>>
  /** What approvers sign: RFC 8785, UTF-8. */
  text: string
  /** SHA-256 of `text` in hex, to compare by eye. */
  digest: string
  /** Approvals that the action needs now. */
  required: number
  /** Names of the approvers whose signatures count. */
  approvedBy: string[]
  requestedBy: string
  requestedAt: string
  expiresAt: string
  state: ApprovalState
}

/** `approval-missing`, with the request that collects the approvals. */
export class ApprovalMissing extends KeyturnError {
  readonly request: ApprovalRequestView

  constructor(request: ApprovalRequestView) {
    const { id, action, subject, approvedBy, required } = request
    super(
      'approval-missing',
      `${action} of ${subject} has ${approvedBy.length} of ${required} approvals: request "${id}"`,
      { hint: `keyturn approve ${id} --key FILE, then the same command again` },
    )
    this.request = request
  }
}
