import { Binary, BSON, MongoServerError, type ClientSession } from 'mongodb'
import type { Document } from 'mongodb'
import { wrapMembers } from '../envelope/layout.ts'
import { byteSlices } from './byte-slices.ts'
import type { CountersDoc, RangeDoc, RangeId } from './documents.ts'
import { keystore } from './keystore.ts'
import type { PageCounts, PageStep } from './page-step.ts'
import { writeRows } from './quarantine-rows.ts'
import { isDocumentRefusal } from './server-errors.ts'
import type { Store } from './store.ts'
import { transactionOptions } from './transaction.ts'
import { wrapFilter } from './wrap-filter.ts'

/** `elsewhere`: the attempt filter did not match, nothing is written; `answered`: the page was committed before. */
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

/**
 * The statements of one try, up to its commit. The attempt filter comes first, so that a replaced worker changes no record.
 * That statement counts every update as matched, which is nearly always right; otherwise one more statement corrects it.
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
  const { matchedCount } = await keystore.ranges(store).updateOne(
    { _id: rangeId(step), attempt: step.attempt, closed: false, cursor: step.oldCursor },
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

/** In the same snapshot; the caller's commit waits until what is read here is majority-committed. */
async function wasCommitted(
  store: Store,
  session: ClientSession,
  step: PageStep,
): Promise<boolean> {
  const committed = await keystore.ranges(store).findOne(
    {
      _id: rangeId(step),
      attempt: step.attempt,
      cursor: step.newCursor,
      closed: step.closes === true,
    },
    { session, projection: { _id: 1 } },
  )
  return committed !== null
}

/** Of one command. */
const statementsAtMost = 1_000

/** An upper bound for the size of a statement: its `_id`, the old wrap and the new one. */
function statementBytes({ q: { _id: id } }: { q: Document }): number {
  return statementBase + roughSize(id)
}

const statementBase = 1_024

/** Measured only if it may be large: measuring every one costs five per cent of a rotation with `env`. */
function roughSize(id: unknown): number {
  if (typeof id === 'string') return 3 * id.length
  if (id instanceof Binary) return id.position
  return typeof id === 'object' && id !== null && !('_bsontype' in id)
    ? BSON.calculateObjectSize({ id })
    : 0
}

interface UpdateReply {
  /** How many matched. */
  n: number
  writeErrors?: { index: number; code: number; errmsg: string }[]
}

/**
 * Returns how many envelopes were unchanged since they were read. Throws `WriteRefused`. It uses the plain command instead of
 * the driver's `bulkWrite`, which measures each statement: five per cent of a rotation with `env`.
 */
async function writeWraps(store: Store, session: ClientSession, step: PageStep): Promise<number> {
  const statements = wrapUpdates(step)
  let matched = 0
  let at = 0
  for (const updates of byteSlices(statements, statementBytes, { count: statementsAtMost })) {
    const command = { update: step.collection, updates, ordered: false }
    const { n, writeErrors = [] } = (await store.db.command(command, { session })) as UpdateReply
    if (writeErrors.length > 0) throw asRefusal(writeErrors, at)
    matched += n
    at += updates.length
  }
  return matched
}

function wrapUpdates(step: PageStep): { q: Document; u: Document }[] {
  const { layout, from, to, provider, updates } = step
  return updates.map((update) => ({
    q: wrapFilter(layout, { id: update.id, version: from, wrapped: update.oldWrapped }),
    u: { $set: wrapMembers(layout, to, provider, update) },
  }))
}

/** `at`: position of the command's first statement in the page. */
function asRefusal(errors: NonNullable<UpdateReply['writeErrors']>, at: number): Error {
  const first = new MongoServerError(errors[0] ?? {})
  if (!errors.every(({ code }) => isDocumentRefusal(code))) return first
  return new WriteRefused(
    errors.map(({ index, code }) => ({ index: at + index, code })),
    first,
  )
}

async function writeQuarantine(
  store: Store,
  session: ClientSession,
  step: PageStep,
): Promise<number> {
  const { collection, layout, rotation, from } = step
  const place = { collection, field: layout.field, rotation, version: from }
  return writeRows(store, session, place, step.quarantine)
}

async function addCounters(
  store: Store,
  session: ClientSession,
  step: PageStep,
  counters: Partial<CountersDoc>,
): Promise<void> {
  const increments = Object.entries(counters).map(([name, by]) => [`counters.${name}`, by] as const)
  await keystore
    .ranges(store)
    .updateOne({ _id: rangeId(step) }, { $inc: Object.fromEntries(increments) }, { session })
}

/** With members in the stored order. */
function rangeId({ rotation, range }: RangeId): RangeDoc['_id'] {
  return { rotation, shard: range }
}
