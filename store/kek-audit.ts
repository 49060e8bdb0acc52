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
import { isDuplicateKey } from './store-errors.ts'
import { serverNow, type Store } from './store.ts'

/**
 * The record of what was done, a chain of hashes: `hash` is the SHA-256 over the RFC 8785 form of the entry without it
 * (`at` in ISO 8601 with milliseconds), and covers `prev`, the hash before. An entry that is changed, left out or put
 * between is seen by `verifyAudit`; entries cut off at the end are not.
 */

/** `prev` of the first entry. */
const genesis = '0'.repeat(64)
/** Longest wait before another try when several append at once, in milliseconds. */
const retryMs = 20

export interface AuditEntry {
  actor: string
  action: string
  subject: string
  /** JSON types only, ids as EJSON; what JSON leaves out is left out. */
  details: object
}

/** Numbers of entries; what somebody wrote under another `_id` is no entry, and a break of the chain. */
const numbered = { _id: { $gte: 1, $lt: Number.MAX_SAFE_INTEGER } }

/** An aggregation's stages: the newest entry. */
export const lastEntry: Document[] = [{ $match: numbered }, { $sort: { _id: -1 } }, { $limit: 1 }]

/** Appends an entry under the next number, without gaps however many append at once. Returns it as stored. */
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
      // Behind an entry that was edited the chain is broken, and goes on.
      prev: typeof before === 'string' ? clipped(before, 64) : genesis,
    }
    const sealed: AuditDoc = { ...unsealed, hash: auditHash(unsealed) }
    try {
      await audit.insertOne(sealed)
      return sealed
    } catch (error) {
      // Another entry took the number: there is a new last one.
      if (!isDuplicateKey(error)) throw error
      await pause(Math.random() * retryMs)
    }
  }
}

/** Whether an act of a request is recorded already. */
export async function hasAudit(store: Store, action: string, request: string): Promise<boolean> {
  const filter = { action, 'details.request': request }
  return (await keystore.audit(store).findOne(filter, { projection: { _id: 1 } })) !== null
}

/** What `listAudit` gives; the action of one that was edited into something else is `malformed`, and its subject says so. */
export interface ListedEntry extends Omit<AuditDoc, '_id'> {
  /** Null where it is no number. */
  _id: number | null
}

/** In order; the newest `limit` when it is given. */
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
    ...{ actor: '', action: 'malformed', subject, details: {}, prev: '' },
    hash: hash.safeParse(row.hash).data ?? '',
  }
}

export interface AuditVerdict {
  entries: number
  ok: boolean
  /** Number of the first entry that is missing or does not fit; null when all do. */
  brokenAt: number | null
}

/** Computes the whole chain again; an election on the way has it begin anew. */
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

/** False also for what has no such form: it was edited into something else. */
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

/** As JSON would give it back, so that what is hashed is what will be read. */
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
