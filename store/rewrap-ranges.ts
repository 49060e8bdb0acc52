import type { ClientSession, Filter, FindOptions } from 'mongodb'
import { KeyturnError } from '../contracts/errors.ts'
import { collections } from '../contracts/names.ts'
import type { Counters } from '../contracts/rotation.ts'
import type { Bound, RangeDoc, RangeId } from './documents.ts'
import { keystore } from './keystore.ts'
import { malformed } from './own-documents.ts'
import { readRangeDoc } from './range-documents.ts'
import { countOr } from './stored-counts.ts'
import type { Store } from './store.ts'
import { inTransaction } from './transaction.ts'

export interface NewRange {
  range: string
  collection: string
  field: string
  min: Bound | null
  max: Bound | null
}

/**
 * Inserts missing range documents, with attempt 0 and without a cursor; existing ones stay unchanged. Throws `no-rotation` if
 * the rotation has ended or its ranges are closed.
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
 * Counts quarantine rows of a field's odd envelopes, which belong to no range, in the transaction that writes them: in a
 * separate document among the rotation's ranges, closed from the start. Throws `no-rotation` like `insertRanges`.
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

/** In order of their names. */
export async function readRanges(store: Store, rotation: string): Promise<RangeDoc[]> {
  const ranges = await findRaw(store, { '_id.rotation': rotation })
  return ranges.sort((one, other) => (one._id.shard < other._id.shard ? -1 : 1))
}

/**
 * The ranges of one pass (named `<pass>-…`) in order of their names, after the one named `after`: all, or the first
 * `limit`.
 */
export async function readPass(
  store: Store,
  rotation: string,
  pass: number,
  { after = null, limit = 0 }: { after?: string | null; limit?: number } = {},
): Promise<RangeDoc[]> {
  const begin = rangeId({ rotation, range: after ?? `${pass}-` })
  // The character that follows the hyphen in ASCII bounds the names of this pass.
  const end = rangeId({ rotation, range: `${pass}.` })
  return findRaw(store, { _id: { $gt: begin, $lt: end } }, { sort: { _id: 1 }, limit })
}

/** Conflicts with the end of the rotation and with `closeRanges`: nothing is inserted after them. */
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
  if (matchedCount === 0) throw rangesGone(rotation)
}

/** Null when there is no such range. */
export async function readRange(store: Store, id: RangeId): Promise<RangeDoc | null> {
  const [range] = await findRaw(store, { _id: rangeId(id) })
  return range ?? null
}

/** Sum of the counters of the rotation's ranges; exact after any crash. */
export async function sumCounters(store: Store, rotation: string): Promise<Counters> {
  const sum = (name: string) => ({ $sum: countOr(`$counters.${name}`, 0) })
  const [counters] = await keystore
    .ranges(store)
    .aggregate<Counters>([
      { $match: { '_id.rotation': rotation } },
      {
        $group: {
          _id: null,
          rewrapped: sum('rewrapped'),
          superseded: sum('superseded'),
          quarantined: sum('quarantined'),
          hsmCalls: sum('hsm_calls'),
        },
      },
      { $project: { _id: 0 } },
    ])
    .toArray()
  return counters ?? { rewrapped: 0, superseded: 0, quarantined: 0, hsmCalls: 0 }
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

/** With members in the stored order, whatever the caller's object has. */
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

export function rangesGone(rotation: string): KeyturnError {
  return new KeyturnError(
    'no-rotation',
    `the ranges of rotation "${rotation}" are gone or closed`,
    {
      hint: 'keyturn status shows which rotation runs',
    },
  )
}
