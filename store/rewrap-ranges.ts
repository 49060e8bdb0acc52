import type { ClientSession, Filter, FindOptions } from 'mongodb'
import { KeyturnError } from '../contracts/errors.ts'
import { collections } from '../contracts/names.ts'
import type { Bound, RangeDoc, RangeId } from './documents.ts'
import { keystore } from './keystore.ts'
import { malformed } from './own-documents.ts'
import { endSession, killSession, openSession } from './sessions.ts'
import { readRangeDoc } from './range-documents.ts'
import { serverCode, serverCodes } from './store-errors.ts'
import type { Store } from './store.ts'
import { inTransaction } from './transaction.ts'

/**
 * Range documents fence off workers: a page is written only with the attempt's number that the document has (see
 * page-transaction.ts). A frozen worker may hold the document in an open transaction, so a takeover kills that session
 * first, and tries to raise the number for one second, both again until the raise succeeds.
 */

/** How long one try of a raise waits for whoever holds the document, in milliseconds. */
const raiseMs = 1_000

export interface NewRange {
  range: string
  collection: string
  field: string
  min: Bound | null
  max: Bound | null
}

/**
 * Inserts range documents that are not there yet, with attempt 0 and without a cursor; those that are stay as they are.
 * Throws `no-rotation` when the rotation has ended or its ranges were closed.
 */
export async function insertRanges(
  store: Store,
  rotation: string,
  ranges: readonly NewRange[],
): Promise<void> {
  await inTransaction(store, async (session) => {
    await touchRotation(store, session, rotation)
    if (ranges.length === 0) return
    await keystore.ranges(store).bulkWrite(
      ranges.map(({ range, ...place }) => ({
        updateOne: {
          filter: { _id: { rotation, shard: range } },
          update: { $setOnInsert: { ...place, ...untouched() } },
          upsert: true,
        },
      })),
      { session, ordered: false },
    )
  })
}

/**
 * Counts rows that are written in the same transaction for odd envelopes of a field, which no range has: in a document of
 * their own among the rotation's ranges, closed from its begin. Throws `no-rotation` as `insertRanges` does.
 */
export async function countOddRows(
  store: Store,
  session: ClientSession,
  { rotation, collection, field }: { rotation: string; collection: string; field: string },
  quarantined: number,
): Promise<void> {
  await touchRotation(store, session, rotation)
  const { attempt, session: none, cursor } = untouched()
  const range = { collection, field, min: null, max: null, closed: true }
  const zeros = { 'counters.rewrapped': 0, 'counters.superseded': 0, 'counters.hsm_calls': 0 }
  await keystore.ranges(store).updateOne(
    { _id: rangeId({ rotation, range: `odd/${collection}/${field}` }) },
    {
      $inc: { 'counters.quarantined': quarantined },
      $setOnInsert: { ...range, attempt, session: none, cursor, ...zeros },
    },
    { upsert: true, session },
  )
}

/** In the order of their names. */
export async function readRanges(store: Store, rotation: string): Promise<RangeDoc[]> {
  const ranges = await findRaw(store, { '_id.rotation': rotation })
  return ranges.sort((one, other) => (one._id.shard < other._id.shard ? -1 : 1))
}

/**
 * The ranges of one pass (those named `<pass>-…`) in the order of their names, behind the one named `after`: all of
 * them, or the first `limit`.
 */
export async function readPass(
  store: Store,
  rotation: string,
  pass: number,
  { after = null, limit = 0 }: { after?: string | null; limit?: number } = {},
): Promise<RangeDoc[]> {
  const begin = rangeId({ rotation, range: after ?? `${pass}-` })
  // The character behind the hyphen ends the names of this pass.
  const end = rangeId({ rotation, range: `${pass}.` })
  return findRaw(store, { _id: { $gt: begin, $lt: end } }, { sort: { _id: 1 }, limit })
}

/** Conflicts with the end of the rotation and with closeRanges: nothing is inserted behind them. */
async function touchRotation(
  store: Store,
  session: ClientSession,
  rotation: string,
): Promise<void> {
  const { matchedCount } = await keystore
    .rotations(store)
    .updateOne(
      { _id: rotation, ended_at: null, shards_closed: { $ne: true } },
      { $inc: { touches: 1 } },
      { session },
    )
  if (matchedCount === 0) throw rotationOver(rotation)
}

/** Null when there is no such range. */
export async function readRange(store: Store, id: RangeId): Promise<RangeDoc | null> {
  const [range] = await findRaw(store, { _id: rangeId(id) })
  return range ?? null
}

export interface TakenRange {
  attempt: number
  cursor: Bound | null
  /** For this attempt's page transactions only. The taker ends it with `endSession` of sessions.ts. */
  session: ClientSession
  /** The document after the raise. */
  doc: RangeDoc
}

/**
 * Takes a range for a new attempt: from here on nothing of an older one is written. Null when the range is closed;
 * `no-rotation` when there is none. Waits as long as it must for an open transaction of the old attempt, or for `signal`.
 */
export async function takeRange(
  store: Store,
  id: RangeId,
  signal?: AbortSignal,
): Promise<TakenRange | null> {
  for (;;) {
    signal?.throwIfAborted()
    const before = await readRange(store, id)
    if (before === null) throw rotationOver(id.rotation)
    if (before.closed) return null
    const { session, lsid } = openSession(store)
    const raised = await raise(store, before, { session: lsid }).catch(async (error: unknown) => {
      await endSession(session)
      throw error
    })
    if (raised) {
      // If yet another attempt has raised it since, the first page of this one will say so.
      const doc = await readRange(store, id)
      if (doc?.closed === false) {
        return { attempt: before.attempt + 1, cursor: doc.cursor, session, doc }
      }
    }
    await endSession(session)
  }
}

/**
 * Closes the open ranges of one rotation, or of all, for good, with the same raise as a takeover: no page in flight,
 * frozen or late is written afterwards. A rotation named here cannot insert another one. Returns how many were open.
 */
export async function closeRanges(
  store: Store,
  filter: 'all' | { rotation: string },
): Promise<number> {
  if (filter !== 'all') {
    await keystore
      .rotations(store)
      .updateOne({ _id: filter.rotation }, { $set: { shards_closed: true } })
  }
  return closeThese(store, filter === 'all' ? {} : { '_id.rotation': filter.rotation })
}

/**
 * Closes what could bring a version back that goes: the ranges of all rotations that have ended or name the version. One
 * between two other versions that runs keeps its own. Returns how many were open.
 */
export async function closeIdleRanges(store: Store, version: number): Promise<number> {
  const others = await keystore
    .rotations(store)
    .find({ ended_at: null, from: { $ne: version }, to: { $ne: version } })
    .toArray()
  return closeThese(store, { '_id.rotation': { $nin: others.map(({ _id }) => _id) } })
}

async function closeThese(store: Store, these: Filter<RangeDoc>): Promise<number> {
  let closed = 0
  for (;;) {
    const open = await keystore
      .ranges(store)
      .find<Buffer>({ ...these, closed: { $ne: true } }, { raw: true })
      .toArray()
    if (open.length === 0) return closed
    for (const document of open) {
      const range = readRangeDoc(document)
      const isClosed = 'member' in range ? shut(store, range.id) : raise(store, range, closing)
      if (await isClosed) closed += 1
    }
  }
}

const closing = { closed: true }

/** Closes a range that nobody can read, so that no page is written by it: the end of a rotation does not wait for its cure. */
async function shut(store: Store, id: unknown): Promise<boolean> {
  return unlessHeld(async () => {
    const { matchedCount } = await keystore
      .ranges(store)
      .updateOne({ _id: { $eq: id as RangeDoc['_id'] } }, { $set: closing }, { maxTimeMS: raiseMs })
    return matchedCount === 1
  })
}

/**
 * Kills the session of the attempt that was seen and raises its number. False when another was faster, or when the
 * document is held still: read it again and repeat.
 */
async function raise(
  store: Store,
  seen: RangeDoc,
  fields: Partial<Pick<RangeDoc, 'session' | 'closed'>>,
): Promise<boolean> {
  if (seen.session !== null) await killSession(store, seen.session)
  return unlessHeld(async () => {
    const { matchedCount } = await keystore
      .ranges(store)
      .updateOne(
        { _id: seen._id, attempt: seen.attempt, closed: false },
        { $set: fields, $inc: { attempt: 1 } },
        { maxTimeMS: raiseMs },
      )
    return matchedCount === 1
  })
}

/** False also where an open transaction holds the document. */
async function unlessHeld(write: () => Promise<boolean>): Promise<boolean> {
  try {
    return await write()
  } catch (error) {
    const code = serverCode(error)
    if (code === serverCodes.maxTimeExpired || code === serverCodes.writeConflict) return false
    throw error
  }
}

async function findRaw(
  store: Store,
  filter: Filter<RangeDoc>,
  options: Pick<FindOptions, 'sort' | 'limit'> = {},
): Promise<RangeDoc[]> {
  const documents = await keystore
    .ranges(store)
    .find<Buffer>(filter, { ...options, raw: true })
    .toArray()
  return documents.map((document) => {
    const range = readRangeDoc(document)
    if ('member' in range) throw malformed(collections.ranges, range.shown, range.member)
    return range
  })
}

/** In the order in which it is stored, whatever the caller's object looks like. */
function rangeId({ rotation, range }: RangeId): RangeDoc['_id'] {
  return { rotation, shard: range }
}

function untouched(): Pick<RangeDoc, 'attempt' | 'session' | 'cursor' | 'closed' | 'counters'> {
  return {
    attempt: 0,
    session: null,
    cursor: null,
    closed: false,
    counters: { rewrapped: 0, superseded: 0, quarantined: 0, hsm_calls: 0 },
  }
}

function rotationOver(rotation: string): KeyturnError {
  return new KeyturnError(
    'no-rotation',
    `the ranges of rotation '${rotation}' are gone or closed`,
    {
      hint: 'keyturn status shows which rotation runs',
    },
  )
}
