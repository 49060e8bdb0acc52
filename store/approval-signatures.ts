import { createPublicKey, verify } from 'node:crypto'
import type { Approver } from '../contracts/settings.ts'
import type { ApprovalRequestDoc } from './approval-document.ts'

/** Bytes of an Ed25519 signature (RFC 8032). */
const signatureLength = 64

/**
 * The approvers whose signatures of `text` are among the approvals. A key counts once, whatever names the approvals carry:
 * a name in the row is not signed. An approver with the requester's name does not count.
 */
export function approvedBy(
  text: string,
  { approvals, requested_by }: Pick<ApprovalRequestDoc, 'approvals' | 'requested_by'>,
  approvers: readonly Approver[],
): string[] {
  const counted = approvers
    .filter(({ name }) => !isRequester(name, requested_by))
    .filter(({ key }) => approvals.some(({ signature }) => isSignedBy(text, signature, key)))
  return [...new Map(counted.map(({ key, name }) => [rawKey(key).toString('hex'), name])).values()]
}

/** Whether `signature` (base64, 64 bytes) is that of `key` (raw, base64) over the UTF-8 bytes of `text`. */
export function isSignedBy(text: string, signature: string, key: string): boolean {
  const bytes = Buffer.from(signature, 'base64')
  if (bytes.length !== signatureLength || bytes.toString('base64') !== signature) return false
  try {
    const x = rawKey(key).toString('base64url')
    const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
    return verify(null, Buffer.from(text, 'utf8'), publicKey, bytes)
  } catch {
    // Not a key: the settings were edited.
    return false
  }
}

/** 32 bytes. The same ones can be written in several ways in base64. */
function rawKey(key: string): Buffer {
  return Buffer.from(key, 'base64')
}

/** Whether an approver has the requester's name. Hosts and domains do not count: `alice` is `alice@ops-1`, and a login can contain an @. */
export function isRequester(approver: string, requestedBy: string): boolean {
  return userOf(approver) === userOf(requestedBy)
}

function userOf(name: string): string {
  const at = name.indexOf('@')
  return (at <= 0 ? name : name.slice(0, at)).normalize('NFC').toLowerCase()
}
