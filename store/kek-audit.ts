import type { Document } from 'mongodb'
import { collections } from '../contracts/names.ts'
import { auditHash, genesis, numbered } from './audit-hash.ts'
import type { AuditDoc } from './documents.ts'
import { throughElection } from './election.ts'
import { readInstall } from './kek-install.ts'
import { auditSchema } from './keystore-schemas.ts'
import { keystore } from './keystore.ts'
import { malformed, memberAmiss } from './own-documents.ts'
import type { Store } from './store.ts'

/** Reads the audit. `verifyAudit` detects a changed, missing or inserted entry, but not entries cut off at the end. */

/** Aggregation stages for the newest entry. */
export const lastEntry: Document[] = [{ $match: numbered }, { $sort: { _id: -1 } }, { $limit: 1 }]

/** An entry of `listAudit`. A malformed entry has the action `malformed`, and its subject gives the reason. */
export interface ListedEntry extends Omit<AuditDoc, '_id'> {
  /** Null if it is not a number. */
  _id: number | null
}

/** Which entries are listed; an absent member matches all. */
export interface AuditFilter {
  since?: Date
  action?: string
  subject?: string
  /** Only the newest. */
  limit?: number
}

/** In order. */
export async function listAudit(
  store: Store,
  { since, action, subject, limit }: AuditFilter = {},
): Promise<ListedEntry[]> {
  const filter = {
    ...(since === undefined ? {} : { at: { $gte: since } }),
    ...(action === undefined ? {} : { action: { $eq: action } }),
    ...(subject === undefined ? {} : { subject: { $eq: subject } }),
  }
  const newest = await keystore
    .audit(store)
    .find(filter, { sort: { _id: -1 }, ...(limit === undefined ? {} : { limit }) })
    .toArray()
  return newest.reverse().map(listed)
}

/** Whether the chain has entries after this number other than of kept heads, which would lead to further ones. */
export async function hasNewActs(store: Store, after: number): Promise<boolean> {
  const act = { _id: { $gt: after }, action: { $ne: 'head-anchored' } }
  return (await keystore.audit(store).findOne(act, { projection: { _id: 1 } })) !== null
}

/** The entries that are in the chain now, in order. */
export async function* eachEntry(store: Store): AsyncGenerator<ListedEntry> {
  for await (const row of keystore.audit(store).find({}, { sort: { _id: 1 } })) yield listed(row)
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

/**
 * Recomputes the whole chain; restarts if an election interrupts it. `setup` writes the first entry together with the install,
 * so an empty chain beside an install is broken at 1.
 */
export async function verifyAudit(store: Store): Promise<AuditVerdict> {
  const verdict = await throughElection(() => walkAudit(store), true)
  const isCut = verdict.entries === 0 && (await readInstall(store)) !== null
  return isCut ? { entries: 0, ok: false, brokenAt: 1 } : verdict
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
