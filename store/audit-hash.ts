import canonicalize from 'canonicalize'
import { createHash } from 'node:crypto'
import type { AuditDoc } from './documents.ts'

/**
 * The audit is a chain of hashes: `hash` is the SHA-256 over the RFC 8785 form of the entry without `hash` (`at` in ISO 8601
 * with milliseconds), which includes `prev`, the previous hash.
 */

/** `prev` of the first entry. */
export const genesis = '0'.repeat(64)

/** Entry numbers. A document with another kind of `_id` is not an entry, and breaks the chain. */
export const numbered = { _id: { $gte: 1, $lt: Number.MAX_SAFE_INTEGER } }

/** SHA-256 in hex over the RFC 8785 form of an entry without its hash. */
export function auditHash(unsealed: Omit<AuditDoc, 'hash'>): string {
  const form = canonicalize({ ...unsealed, at: unsealed.at.toISOString() })
  return createHash('sha256')
    .update(form ?? '')
    .digest('hex')
}
