import {
  Binary,
  MongoBulkWriteError,
  type AnyBulkWriteOperation,
  type ClientSession,
} from 'mongodb'
import type { Document } from 'mongodb'
import type { ProviderName } from '../contracts/kek.ts'
import { keyturnLayout, wrapMembers, type Layout } from '../envelope/layout.ts'
import type { Bound, CountersDoc, QuarantineDoc, ShardId } from './documents.ts'
import { keystore } from './keystore.ts'
import { serverCodes } from './store-errors.ts'
import type { Store } from './store.ts'
import { transactionOptions } from './transaction.ts'

/** One new wrap. */
export interface PageUpdate {
  /** `PageEntry.id`. */
  id: unknown
  /** The wrapped DEK as it was read: the update only meets an envelope that still has it. Text where it is text. */
  oldWrapped: Uint8Array | string
  dekIv: Uint8Array
  dekWrapped: Uint8Array
}

/** One row for quarantine. */
export interface PageQuarantine {
  /** `PageEntry.id`. */
  id: unknown
  /** `wrapDigest` of the wrap fields as found. */
  digest: Uint8Array
  code: string
  message: string
}

/** What one transaction writes: a page, or a part of one. */
export interface PageStep {
  rotation: string
  shard: string
  attempt: number
  collection: string
  field: string
  /** `keyturn-1` unless given. */
  layout?: Layout
  oldCursor: Bound | null
  newCursor: Bound | null
  from: number
  to: number
  /** Of the new wraps. */
  provider: ProviderName
  updates: readonly PageUpdate[]
  quarantine: readonly PageQuarantine[]
  counters: { hsmCalls: number }
  /** Throws `lease-expired` when this process may not wrap any more. */
  leaseCheck: () => void
  /** True closes the shard with this page, its last. */
  closes?: boolean
}

export interface PageCounts {
  rewrapped: number
  superseded: number
  quarantined: number
}

/** `elsewhere`: the fence did not match, nothing is written; `answered` when the page had been committed before. */
export type TryOutcome =
  { kind: 'written'; counts: PageCounts } | { kind: 'elsewhere'; answered: boolean }

/** MongoDB will not store these updates: positions in `updates`, and the server's codes. */
export class WriteRefused extends Error {
  override readonly name = 'WriteRefused'
  readonly refused: readonly { index: number; code: number }[]

  constructor(refused: WriteRefused['refused'], cause: unknown) {
    super('mongodb refused to store a wrap', { cause })
    this.refused = refused
  }
}

/** Refusals that are the one document's own fault and would come again: a validator, its size, an index on it. */
const refusals = new Set<number>([
  serverCodes.documentValidationFailure,
  serverCodes.objectTooLargeAfterUpdate,
  serverCodes.objectTooLarge,
  serverCodes.pathNotViable,
  serverCodes.cannotIndexParallelArrays,
  serverCodes.duplicateKey,
])

/**
 * The statements of one try, up to its commit. The fence comes first, so that a replaced worker touches no record. It
 * counts every update as a match at once, since nearly all are; what was not is put right by one more statement.
 */
export async function writeStep(
  store: Store,
  session: ClientSession,
  step: PageStep,
): Promise<TryOutcome> {
  session.startTransaction(transactionOptions)
  step.leaseCheck()
  if (!(await passFence(store, session, step))) {
    return { kind: 'elsewhere', answered: await wasCommitted(store, session, step) }
  }
  const rewrapped = await writeWraps(store, session, step)
  const superseded = step.updates.length - rewrapped
  const quarantined = await writeQuarantine(store, session, step)
  if (superseded > 0 || quarantined > 0) {
    await addCounters(store, session, step, { rewrapped: -superseded, superseded, quarantined })
  }
  step.leaseCheck()
  return { kind: 'written', counts: { rewrapped, superseded, quarantined } }
}

async function passFence(store: Store, session: ClientSession, step: PageStep): Promise<boolean> {
  const { matchedCount } = await keystore.shards(store).updateOne(
    { _id: shardId(step), attempt: step.attempt, closed: false, cursor: step.oldCursor },
    {
      $set: { cursor: step.newCursor, ...(step.closes === true ? { closed: true } : {}) },
      $inc: {
        'counters.rewrapped': step.updates.length,
        'counters.hsm_calls': step.counters.hsmCalls,
      },
    },
    { session },
  )
  return matchedCount === 1
}

/** In the same snapshot; the caller's commit waits until what is seen here is there to stay. */
async function wasCommitted(
  store: Store,
  session: ClientSession,
  step: PageStep,
): Promise<boolean> {
  const committed = await keystore.shards(store).findOne(
    {
      _id: shardId(step),
      attempt: step.attempt,
      cursor: step.newCursor,
      closed: step.closes === true,
    },
    { session, projection: { _id: 1 } },
  )
  return committed !== null
}

/** Returns how many envelopes still were what had been read. Throws `WriteRefused`. */
async function writeWraps(store: Store, session: ClientSession, step: PageStep): Promise<number> {
  if (step.updates.length === 0) return 0
  const updates = wrapUpdates(step)
  try {
    const { matchedCount } = await store.db
      .collection(step.collection)
      .bulkWrite(updates, { session, ordered: false })
    return matchedCount
  } catch (error) {
    throw asRefusal(error)
  }
}

function wrapUpdates(step: PageStep): AnyBulkWriteOperation[] {
  const { from, to, provider, updates } = step
  const layout = step.layout ?? keyturnLayout(step.field)
  const { version, wrapped } = layout
  return updates.map((update) => {
    const { oldWrapped } = update
    const filter: Document = {
      _id: idEquals(update.id),
      [version]: from,
      [wrapped]: typeof oldWrapped === 'string' ? oldWrapped : new Binary(oldWrapped),
    }
    return { updateOne: { filter, update: { $set: wrapMembers(layout, to, provider, update) } } }
  })
}

/** A sub-document whose first key begins with `$` would be read as an operator. */
export function idEquals(id: unknown): unknown {
  return id instanceof Map ? { $eq: id } : id
}

function asRefusal(error: unknown): unknown {
  if (!(error instanceof MongoBulkWriteError)) return error
  const errors = [error.writeErrors].flat()
  if (errors.length === 0 || !errors.every(({ code }) => refusals.has(code))) return error
  return new WriteRefused(
    errors.map(({ index, code }) => ({ index, code })),
    error,
  )
}

/** Returns how many of the rows are new for this rotation. */
async function writeQuarantine(
  store: Store,
  session: ClientSession,
  step: PageStep,
): Promise<number> {
  if (step.quarantine.length === 0) return 0
  const { collection, field, rotation } = step
  const rows = step.quarantine.map((row) => ({ row, _id: { collection, id: row.id, field } }))
  const quarantine = keystore.quarantine(store)
  const known = await quarantine
    .find(
      { _id: { $in: rows.map(({ _id }) => _id) }, rotation },
      { session, projection: { rotation: 1 } },
    )
    .toArray()
  await quarantine.bulkWrite(
    rows.map(({ row, _id }) => ({
      updateOne: {
        filter: { _id },
        update: [{ $set: quarantineFields(step, row) }] as Document[],
        upsert: true,
      },
    })),
    { session, ordered: false },
  )
  return rows.length - known.length
}

function quarantineFields(step: PageStep, row: PageQuarantine): Document {
  const fields: Pick<QuarantineDoc, 'kek_version' | 'digest'> = {
    kek_version: step.from,
    digest: new Binary(row.digest),
  }
  return {
    ...fields,
    code: { $literal: row.code },
    message: { $literal: row.message },
    rotation: { $literal: step.rotation },
    first_seen: { $ifNull: ['$first_seen', '$$NOW'] },
    attempts: { $add: [{ $ifNull: ['$attempts', 0] }, 1] },
  }
}

async function addCounters(
  store: Store,
  session: ClientSession,
  step: PageStep,
  counters: Partial<CountersDoc>,
): Promise<void> {
  const increments = Object.entries(counters).map(([name, by]) => [`counters.${name}`, by] as const)
  await keystore
    .shards(store)
    .updateOne({ _id: shardId(step) }, { $inc: Object.fromEntries(increments) }, { session })
}

/** In the order in which it is stored. */
function shardId({ rotation, shard }: ShardId): ShardId {
  return { rotation, shard }
}
