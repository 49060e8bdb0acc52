import { createHash } from 'node:crypto'
import canonicalize from 'canonicalize'
import type { ApprovalRequestDoc } from './approval-document.ts'

/** The members of a request that are signed. */
export type SignedMembers = Pick<
  ApprovalRequestDoc,
  '_id' | 'action' | 'subject' | 'options' | 'requested_by' | 'requested_at' | 'expires_at'
>

/**
 * What approvers sign: the RFC 8785 form of a request, as UTF-8. `install` is the keystore's id, so that a signature is worth
 * nothing in another keystore, not even in a copy. Approvals and state are not part of it.
 */
export function approvalText(install: string, request: SignedMembers): string {
  const text = canonicalize({
    type: 'keyturn-approval/1',
    install,
    id: request._id,
    action: request.action,
    subject: request.subject,
    options: request.options,
    requestedBy: request.requested_by,
    requestedAt: request.requested_at.toISOString(),
    expiresAt: request.expires_at.toISOString(),
  })
  if (text === undefined) throw new TypeError('a request is no JSON')
  return text
}

/** SHA-256 in hex, to compare by eye. */
export function approvalDigest(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex')
}
