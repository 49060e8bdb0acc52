import { randomBytes } from 'node:crypto'
import type { ClientSession } from 'mongodb'
import canonicalize from 'canonicalize'
import type { ApprovalSubject } from '../contracts/approvals.ts'
import { KeyturnError } from '../contracts/errors.ts'
import { collections } from '../contracts/names.ts'
import { recordAudit, type AuditEntry } from './audit-outbox.ts'
import type { ApprovalRequestDoc } from './approval-document.ts'
import { keystore } from './keystore.ts'
import { isDuplicateKey } from './server-errors.ts'
import { serverNow, type Store } from './store.ts'
import { inTransaction } from './transaction.ts'

/** The rows in `kek_requests`. Their use is in approval-use.ts. */

/** Letters and digits of an id, without those that are easily confused. */
const alphabet = 'abcdefghjkmnpqrstuvwxyz23456789'

/** At most this many requests are closed at once. */
const mostClosed = 100

const isOver = { $expr: { $lte: ['$expires_at', '$$NOW'] } }

function newId(now: Date): string {
  const letters = Array.from(randomBytes(10), (byte) => alphabet[byte % alphabet.length])
  return `q-${now.toISOString().slice(0, 10)}-${letters.join('')}`
}

/** Filter of the open request for exactly this; it may have expired. */
export function openFor({ action, subject, options }: ApprovalSubject) {
  return { action, subject, options: { $eq: inOrder(options) }, state: 'open' as const }
}

/** Returns the open request for exactly this, opened now if there is none. One that has expired is closed. */
export async function openRequest(
  store: Store,
  wanted: ApprovalSubject,
  { by, expiresMs }: { by: string; expiresMs: number },
): Promise<ApprovalRequestDoc> {
  for (;;) {
    const now = await serverNow(store)
    const there = await keystore.requests(store).findOne(openFor(wanted))
    if (there !== null && there.expires_at > now) return there
    if (there !== null) await closeRequest(store, there._id, 'expired', by)
    const row: ApprovalRequestDoc = {
      _id: newId(now),
      action: wanted.action,
      subject: wanted.subject,
      options: inOrder(wanted.options),
      requested_by: by,
      requested_at: now,
      expires_at: new Date(now.getTime() + expiresMs),
      approvals: [],
      state: 'open',
      used_for: null,
      used_at: null,
    }
    try {
      await inTransaction(store, async (session) => {
        await keystore.requests(store).insertOne(row, { session })
        await recordAudit(store, entryOf(row, 'request-opened', by), session)
      })
      return row
    } catch (error) {
      // Another client opened it first.
      if (!isDuplicateKey(error)) throw error
    }
  }
}

export async function readRequest(store: Store, id: string): Promise<ApprovalRequestDoc | null> {
  return keystore.requests(store).findOne({ _id: { $eq: id } })
}

/** Newest first; only the open ones that have not expired, if asked for. */
export async function listRequests(
  store: Store,
  { onlyOpen }: { onlyOpen: boolean },
): Promise<ApprovalRequestDoc[]> {
  const open = { state: 'open' as const, $expr: { $gt: ['$expires_at', '$$NOW'] } }
  return keystore
    .requests(store)
    .find(onlyOpen ? open : {}, { sort: { requested_at: -1 } })
    .toArray()
}

/** Adds a verified approval. False when the request is no longer open, or the same signature is there already. */
export async function addApproval(
  store: Store,
  id: string,
  { name, signature }: { name: string; signature: string },
  by: string,
): Promise<boolean> {
  return inTransaction(store, async (session) => {
    const now = await serverNow(store)
    const row = await keystore.requests(store).findOneAndUpdate(
      {
        _id: { $eq: id },
        state: 'open',
        $expr: { $gt: ['$expires_at', '$$NOW'] },
        'approvals.signature': { $ne: signature },
      },
      { $push: { approvals: { name, signature, at: now } } },
      { session, returnDocument: 'after' },
    )
    if (row === null) return false
    const entry = entryOf(row, 'request-approved', by, { approver: name, signature })
    await recordAudit(store, entry, session)
    return true
  })
}

/** Closes an open request. `expired`: only once its time is over. False when it is not open. */
export async function closeRequest(
  store: Store,
  id: string,
  state: 'withdrawn' | 'expired',
  by: string,
  details: object = {},
): Promise<boolean> {
  return inTransaction(store, async (session) => {
    const due = state === 'expired' ? isOver : {}
    const row = await keystore
      .requests(store)
      .findOneAndUpdate(
        { _id: { $eq: id }, state: 'open', ...due },
        { $set: { state } },
        { session, returnDocument: 'after' },
      )
    if (row === null) return false
    await recordAudit(store, entryOf(row, `request-${state}`, by, details), session)
    return true
  })
}

/** Closes the requests whose time is over, by a worker. A malformed one stays: whoever needs it is told. */
export async function closeExpiredRequests(store: Store, node: string): Promise<void> {
  const ids = await store.db
    .collection<{ _id: string }>(collections.requests)
    .find({ state: 'open', ...isOver }, { projection: { _id: 1 }, limit: mostClosed })
    .toArray()
  for (const { _id } of ids) {
    try {
      await closeRequest(store, _id, 'expired', node, { claimed: false, worker: node })
    } catch (error) {
      if (!(error instanceof KeyturnError && error.code === 'document-malformed')) throw error
    }
  }
}

/** Withdraws all open requests: the keystore has another id, or an older state was restored. Returns their ids. */
export async function withdrawRequests(
  store: Store,
  by: string,
  session: ClientSession,
): Promise<string[]> {
  const open = await keystore.requests(store).find({ state: 'open' }, { session }).toArray()
  for (const row of open) {
    await keystore
      .requests(store)
      .updateOne({ _id: row._id, state: 'open' }, { $set: { state: 'withdrawn' } }, { session })
    await recordAudit(store, entryOf(row, 'request-withdrawn', by), session)
  }
  return open.map(({ _id }) => _id)
}

export function entryOf(
  { _id, action, subject }: ApprovalRequestDoc,
  what: string,
  by: string,
  details: object = {},
): AuditEntry {
  return {
    actor: by,
    action: what,
    subject: _id,
    details: { request: _id, claimed: true, of: `${action} ${subject}`, ...details },
  }
}

/** With the members of every object in the order of their names: MongoDB compares objects member by member. */
export function inOrder(options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return JSON.parse(canonicalize(options) ?? '{}') as Record<string, unknown>
}
