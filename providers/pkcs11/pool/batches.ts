import { setMaxListeners } from 'node:events'
import { KeyturnError } from '../../../contracts/errors.ts'
import type {
  PlainDek,
  RewrapAnswer,
  RewrapBatch,
  RewrapItem,
  RewrapOutcome,
  SealedDek,
  Wrapped,
} from '../../provider.ts'
import { malformedWrap } from '../../wrap-shape.ts'
import type { JobOptions } from './job.ts'
import type { BatchReply, BatchRequest } from '../wire/messages.ts'
import { asBuffer, pack, unpack, type Rows } from '../wire/packing.ts'
import type { LanePool } from './pool.ts'

/** Token time that one message should hold: long enough to hide the channel's cost, short enough to repeat. */
const BATCH_MS = 50
const LEAST_BATCH_MS = 2
/** Used until a call was measured: the time of a software token. */
const ASSUMED_CALL_MS = 0.03

export type BatchOptions = Pick<JobOptions, 'versions' | 'signal' | 'onKeyFault'>

interface Work<T extends object, W extends 1 | 2> {
  items: readonly T[]
  callsPerItem: number
  request: (packed: Buffer) => BatchRequest
  fields: (item: T) => Uint8Array[]
  width: W
}

/** Re-wraps a page, divided among the lanes. Items of a wrong size are refused without a call. */
export async function rewrapIn(
  pool: LanePool,
  { from, to, check, items }: RewrapBatch,
  options: BatchOptions,
): Promise<RewrapAnswer> {
  const work: Work<RewrapItem, 2> = {
    items,
    callsPerItem: check === 'all' ? 3 : 2,
    request: (packed) => ({ op: 'rewrap', from, to, check, items: packed }),
    fields: ({ iv, wrapped, aadFrom, aadTo }) => [iv, wrapped, aadFrom, aadTo],
    width: 2,
  }
  const { rows, calls } = await divide(pool, work, { ...options, queueAhead: true })
  const outcomes = rows.map((row): RewrapOutcome =>
    typeof row === 'string'
      ? { ok: false, code: 'envelope-unreadable', message: row }
      : { ok: true, iv: row[0], wrapped: row[1] },
  )
  return { outcomes, calls }
}

export async function wrapIn(
  pool: LanePool,
  version: number,
  deks: readonly PlainDek[],
  options: BatchOptions,
): Promise<Wrapped[]> {
  const work: Work<PlainDek, 2> = {
    items: deks,
    callsPerItem: 1,
    request: (packed) => ({ op: 'wrap', version, items: packed }),
    fields: ({ dek, aad }) => [dek, aad],
    width: 2,
  }
  const { rows } = await divide(pool, work, { ...options, urgent: true })
  return rows.map((row) => {
    if (typeof row === 'string') throw new KeyturnError('internal', `a wrap was refused: ${row}`)
    return { iv: row[0], wrapped: row[1] }
  })
}

export async function unwrapIn(
  pool: LanePool,
  version: number,
  sealed: readonly SealedDek[],
  options: BatchOptions,
): Promise<(Buffer | KeyturnError)[]> {
  const work: Work<SealedDek, 1> = {
    items: sealed,
    callsPerItem: 1,
    request: (packed) => ({ op: 'unwrap', version, items: packed }),
    fields: ({ iv, wrapped, aad }) => [iv, wrapped, aad],
    width: 1,
  }
  const { rows } = await divide(pool, work, { ...options, urgent: true })
  return rows.map((row) =>
    typeof row === 'string' ? new KeyturnError('envelope-unreadable', row) : row[0],
  )
}

/** Divides items into batches, runs them in parallel, and returns a row or a refusal for each item, in order. */
async function divide<T extends object, W extends 1 | 2>(
  pool: LanePool,
  work: Work<T, W>,
  options: JobOptions,
): Promise<{ rows: (Rows[W] | string)[]; calls: number }> {
  const malformed = work.items.map(malformedWrap)
  const sound = [...work.items.entries()].filter(([index]) => malformed[index] === null)
  const rows = new Map<number, Rows[W] | string>()
  const size = batchSize(pool, sound.length, work.callsPerItem)
  // When one batch fails for good, the others are not started.
  const failed = new AbortController()
  const given = options.signal === undefined ? [] : [options.signal]
  const signal = AbortSignal.any([...given, failed.signal])
  setMaxListeners(0, signal) // one for each batch
  let calls = 0
  const runOne = async (part: [number, T][]): Promise<void> => {
    const packed = pack(part.map(([, item]) => work.fields(item)))
    try {
      const answer = await pool.run(work.request(packed), { ...options, signal })
      calls += answer.calls
      const got = read(answer.value, part.length, work.width)
      part.forEach(([index], at) => rows.set(index, got(at)))
    } catch (error) {
      failed.abort(error)
      throw error
    } finally {
      packed.fill(0) // of a wrap: plaintext DEKs
    }
  }
  const batches: Promise<void>[] = []
  for (let at = 0; at < sound.length; at += size) batches.push(runOne(sound.slice(at, at + size)))
  await Promise.all(batches)
  const missing = 'a lane returned no answer for it'
  return { rows: malformed.map((why, index) => why ?? rows.get(index) ?? missing), calls }
}

/** About 50 ms of token time, at most a lane's share of the page, and at least 2 ms: smaller messages cost more than they gain. */
function batchSize(pool: LanePool, items: number, callsPerItem: number): number {
  const itemMs = (pool.callMs ?? ASSUMED_CALL_MS) * callsPerItem
  const share = Math.ceil(items / pool.lanes)
  const least = Math.floor(LEAST_BATCH_MS / itemMs)
  return Math.max(1, Math.min(Math.max(share, least), Math.floor(BATCH_MS / itemMs)))
}

/**
 * Reads a reply: returns a function from an item's position in the batch to its row. The reply holds the rows in order,
 * without the refused ones. Rows are copied, and the packed reply is overwritten.
 */
function read<W extends 1 | 2>(
  reply: BatchReply,
  count: number,
  width: W,
): (at: number) => Rows[W] | string {
  const packed = asBuffer(reply.items)
  const rows: (Rows[W] | string)[] = unpack(packed, width).map(
    (row) => row.map((field) => Buffer.from(field)) as Rows[W],
  )
  packed.fill(0)
  for (const { index, message } of reply.refused) rows.splice(index, 0, message)
  return (at) => {
    const row = rows[at]
    if (row !== undefined && rows.length === count) return row
    throw new KeyturnError(
      'internal',
      'a lane returned a different number of items than it was given',
    )
  }
}
