import { MongoError, type ClientSession, type WithId } from 'mongodb'
import { setTimeout as pause } from 'node:timers/promises'
import { clipped } from '../contracts/clipped.ts'
import { KeyturnError } from '../contracts/errors.ts'
import { auditHash, genesis, numbered } from './audit-hash.ts'
import { jsonOf } from './audit-outbox.ts'
import type { AuditDoc, AuditOutboxDoc } from './documents.ts'
import { auditOutboxSchema } from './keystore-schemas.ts'
import { keystore } from './keystore.ts'
import { limits } from './limits.ts'
import { memberAmiss } from './own-documents.ts'
import { isDuplicateKey, isHeldDocument } from './server-errors.ts'
import { serverNow, type Store } from './store.ts'
import { inTransaction } from './transaction.ts'

/**
 * Entries move from the outbox to the end of the chain in transactions that insert the one and delete the other. Every such
 * transaction inserts the next number, so of two chainers at once one is refused, and a kill leaves the entries either here
 * or there.
 */

/** Entries of one transaction. */
const batch = 100

/** Longest pause before another try while another process chains, in milliseconds. */
const retryMs = 100

/** An entry that waits longer, in milliseconds, is a fault: workers chain with each heartbeat. */
const overdueMs = 60_000

/**
 * Chains what waits, oldest first. `busy`: another process is chaining, or an open transaction holds the entries.
 * `malformed` entries stay in the outbox.
 */
export async function chainAudit(store: Store): Promise<'done' | 'busy'> {
  try {
    for (;;) {
      const chained = await inTransaction(store, (session) => chainBatch(store, session))
      if (chained < batch) return 'done'
    }
  } catch (error) {
    if (error instanceof Busy) return 'busy'
    throw error
  }
}

/**
 * The same for a command that reads the chain next: waits for another chainer for a limited time. Where nothing can be
 * written now, or this user may only read, the chain is read as it is.
 */
export async function chainAuditFirst(store: Store): Promise<void> {
  const giveUpAt = performance.now() + limits.statement
  try {
    while ((await chainAudit(store)) === 'busy' && performance.now() < giveUpAt) {
      await pause(Math.random() * retryMs)
    }
  } catch (error) {
    if (!(error instanceof MongoError) && !(error instanceof KeyturnError)) throw error
  }
}

/** Thrown instead of the server's conflict, which the driver would retry at once. */
class Busy extends Error {}

async function chainBatch(store: Store, session: ClientSession): Promise<number> {
  try {
    const waiting = await nextWaiting(store, session)
    if (waiting.length === 0) return 0
    const last = await keystore
      .audit(store)
      .findOne(numbered, { sort: { _id: -1 }, projection: { hash: 1 }, session })
    await keystore.audit(store).insertMany(sealed(waiting, last), { session })
    const { deletedCount } = await keystore
      .auditOutbox(store)
      .deleteMany({ _id: { $in: waiting.map(({ _id }) => _id) } }, { session })
    if (deletedCount !== waiting.length) throw new Busy()
    return waiting.length
  } catch (error) {
    throw isHeldDocument(error) || isDuplicateKey(error) ? new Busy() : error
  }
}

async function nextWaiting(store: Store, session: ClientSession): Promise<AuditOutboxDoc[]> {
  const found: AuditOutboxDoc[] = []
  const oldest = { sort: { at: 1, _id: 1 }, session } as const
  for await (const row of keystore.auditOutbox(store).find({}, oldest)) {
    if (memberAmiss(auditOutboxSchema, row) === null) found.push(row)
    if (found.length === batch) break
  }
  return found
}

function sealed(
  waiting: readonly AuditOutboxDoc[],
  last: WithId<Pick<AuditDoc, '_id' | 'hash'>> | null,
): AuditDoc[] {
  const before: unknown = last?.hash
  let number = Math.floor(last?._id ?? 0)
  // After an edited entry the chain is broken, and continues.
  let prev = typeof before === 'string' ? clipped(before, 64) : genesis
  return waiting.map(({ at, actor, action, subject, details }) => {
    number += 1
    const unsealed = { _id: number, at, actor, action, subject, details: jsonOf(details), prev }
    const hash = auditHash(unsealed)
    prev = hash
    return { ...unsealed, hash }
  })
}

export interface Waiting {
  /** Entries in the outbox. */
  entries: number
  /** Those of them that should have been chained: they are malformed, or have waited for more than a minute. */
  overdue: number
}

/**
 * What waits although it could have been chained. An entry whose transaction was long open is old when it is committed: only
 * one that is still there after another try counts.
 */
export async function waitingAudit(store: Store): Promise<Waiting> {
  const first = await readWaiting(store)
  if (first.overdue === 0) return first
  await chainAuditFirst(store)
  return await readWaiting(store)
}

async function readWaiting(store: Store): Promise<Waiting> {
  const now = await serverNow(store)
  const rows = await keystore.auditOutbox(store).find({}).toArray()
  const overdue = rows.filter((row) => {
    const isWellFormed = memberAmiss(auditOutboxSchema, row) === null
    return !isWellFormed || now.getTime() - row.at.getTime() > overdueMs
  })
  return { entries: rows.length, overdue: overdue.length }
}
