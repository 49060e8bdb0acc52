import canonicalize from 'canonicalize'
import { createHash } from 'node:crypto'
import type { Document } from 'mongodb'
import { setTimeout as pause } from 'node:timers/promises'
import { clipped } from '../contracts/clipped.ts'
import { collections } from '../contracts/names.ts'
import type { AuditDoc } from './documents.ts'
import { throughElection } from './election.ts'
import { auditSchema } from './keystore-schemas.ts'
import { keystore } from './keystore.ts'
import { malformed, memberAmiss } from './own-documents.ts'
import { isDuplicateKey } from './server-errors.ts'
import { serverNow, type Store } from './store.ts'

/**
 * The audit is a chain of hashes: `hash` is the SHA-256 over the RFC 8785 form of the entry without `hash` (`at` in ISO 8601
 * with milliseconds), which includes `prev`, the previous hash. `verifyAudit` detects a changed, missing or inserted entry,
 * but not entries that were cut off at the end.
 */

/** `prev` of the first entry. */
const genesis = '0'.repeat(64)
/** Longest pause before a retry when several append at once, in milliseconds. */
const retryMs = 20

export interface AuditEntry {
  actor: string
  action: string
  subject: string
  /** JSON types only, ids as EJSON; members that JSON omits are omitted. */
  details: object
}

/** Entry numbers. A document with another kind of `_id` is not an entry, and breaks the chain. */
const numbered = { _id: { $gte: 1, $lt: Number.MAX_SAFE_INTEGER } }

/** Aggregation stages for the newest entry. */
export const lastEntry: Document[] = [{ $match: numbered }, { $sort: { _id: -1 } }, { $limit: 1 }]

/** Appends an entry under the next number, without gaps even if several append at once. Returns it as stored. */
export async function appendAudit(store: Store, entry: AuditEntry): Promise<AuditDoc> {
  const audit = keystore.audit(store)
  const details = jsonOf(entry.details)
  for (;;) {
    const last = await audit.findOne(numbered, { sort: { _id: -1 }, projection: { hash: 1 } })
    const before: unknown = last?.hash
    const unsealed = {
      _id: Math.floor(last?._id ?? 0) + 1,
      at: await serverNow(store),
      actor: wellFormed(entry.actor),
      action: wellFormed(entry.action),
      subject: wellFormed(entry.subject),
      details,
      // After an edited entry the chain is broken, and continues.
      prev: typeof before === 'string' ? clipped(before, 64) : genesis,
    }
    const sealed: AuditDoc = { ...unsealed, hash: auditHash(unsealed) }
    try {
      await audit.insertOne(sealed)
      return sealed
    } catch (error) {
      // Another entry took the number: read the new last one.
      if (!isDuplicateKey(error)) throw error
      await pause(Math.random() * retryMs)
    }
  }
}

/** Whether an action on a subject is already recorded. */
export async function hasAuditOf(store: Store, action: string, subject: string): Promise<boolean> {
  const filter = { action, subject }
  return (await keystore.audit(store).findOne(filter, { projection: { _id: 1 } })) !== null
}

/** Whether an action of a request is already recorded. */
export async function hasAudit(store: Store, action: string, request: string): Promise<boolean> {
  const filter = { action, 'details.request': request }
  return (await keystore.audit(store).findOne(filter, { projection: { _id: 1 } })) !== null
}

/** An entry of `listAudit`. A malformed entry has the action `malformed`, and its subject gives the reason. */
export interface ListedEntry extends Omit<AuditDoc, '_id'> {
  /** Null if it is not a number. */
  _id: number | null
}

/** In order; only the newest `limit`, if given. */
export async function listAudit(store: Store, limit?: number): Promise<ListedEntry[]> {
  const newest = await keystore
    .audit(store)
    .find({}, { sort: { _id: -1 }, ...(limit === undefined ? {} : { limit }) })
    .toArray()
  return newest.reverse().map(listed)
}

function listed(row: AuditDoc): ListedEntry {
  const member = memberAmiss(auditSchema, row)
  if (member === null) return row
  const subject = malformed(collections.audit, row._id, member).message
  const { _id, at, hash } = auditSchema.shape
  return {
    _id: _id.safeParse(row._id).data ?? null,
    at: at.safeParse(row.at).data ?? new Date(0),
    actor: '',
    action: 'malformed',
    subject,
    details: {},
    prev: '',
    hash: hash.safeParse(row.hash).data ?? '',
  }
}

export interface AuditVerdict {
  entries: number
  ok: boolean
  /** Number of the first entry that is missing or does not match; null if all match. */
  brokenAt: number | null
}

/** Recomputes the whole chain; restarts if an election interrupts it. */
export async function verifyAudit(store: Store): Promise<AuditVerdict> {
  return await throughElection(() => walkAudit(store), true)
}

async function walkAudit(store: Store): Promise<AuditVerdict> {
  let entries = 0
  let prev = genesis
  let brokenAt: number | null = null
  for await (const { hash, ...unsealed } of keystore.audit(store).find({}, { sort: { _id: 1 } })) {
    entries += 1
    if (brokenAt !== null) continue
    const fits = unsealed._id === entries && unsealed.prev === prev && hasHash(unsealed, hash)
    // A gap is reported as the number that is missing.
    if (!fits)
      brokenAt = Number.isSafeInteger(unsealed._id) ? Math.min(entries, unsealed._id) : entries
    prev = hash
  }
  return { entries, ok: brokenAt === null, brokenAt }
}

/** Also false for a malformed entry, which has no such form. */
function hasHash(unsealed: Omit<AuditDoc, 'hash'>, hash: string): boolean {
  try {
    return auditHash(unsealed) === hash
  } catch {
    return false
  }
}

/** SHA-256 in hex over the RFC 8785 form of an entry without its hash. */
export function auditHash(unsealed: Omit<AuditDoc, 'hash'>): string {
  const form = canonicalize({ ...unsealed, at: unsealed.at.toISOString() })
  return createHash('sha256')
    .update(form ?? '')
    .digest('hex')
}

/** Converted through JSON, so that the hash covers what will be read. */
function jsonOf(details: object): Record<string, unknown> {
  const text = JSON.stringify(details, (_, value: unknown) =>
    typeof value === 'string' ? wellFormed(value) : value,
  )
  return JSON.parse(text) as Record<string, unknown>
}

/** Half a surrogate pair has no UTF-8 form: MongoDB would store something else. */
function wellFormed(text: string): string {
  return Buffer.from(text, 'utf8').toString('utf8')
}
