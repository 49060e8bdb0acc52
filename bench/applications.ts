import { setTimeout as sleep } from 'node:timers/promises'
import type { Collection } from 'mongodb'
import type { Store } from '../store/store.ts'
import { place, recordId } from './fill-records.ts'

/** Updates a second, started on schedule: a slow answer does not reduce the load. */
const perSecond = 200

/** An application that writes its records while a rotation re-wraps them. */
export interface Application {
  /** Latencies in milliseconds since the last call. */
  latencies(): number[]
  /** Stops it; returns how many of its updates are missing in the database. */
  stop(): Promise<{ written: number; lost: number }>
}

interface Row {
  _id: string
  rev: number
}

/**
 * Every second update increments `rev`. The others replace the whole record, envelope included, by what was read, if its
 * `rev` is unchanged: an object mapper with optimistic locking does the same, and so old envelopes are written back.
 */
export function startApplication(store: Store, records: number): Application {
  const rows = store.db.collection<Row>(place.collection)
  const expected = new Map<string, number>()
  const pending = new Set<Promise<void>>()
  const ending = new AbortController()
  let latencies: number[] = []
  let written = 0

  const write = async (number: number) => {
    const _id = recordId((number * 7_919) % records)
    if (expected.get(_id) === -1) return
    const before = expected.get(_id)
    expected.set(_id, -1)
    const began = performance.now()
    const rev = number % 2 === 0 ? await countUp(rows, _id) : await replace(rows, _id)
    latencies.push(performance.now() - began)
    if (rev !== null) written += 1
    expected.set(_id, rev ?? before ?? 0)
  }
  const clock = async () => {
    const began = performance.now()
    for (let number = 0; !ending.signal.aborted; number++) {
      const due = began + (number * 1_000) / perSecond
      await sleep(Math.max(0, due - performance.now()))
      const work = write(number)
      pending.add(work)
      void work.finally(() => pending.delete(work))
    }
    await Promise.all(pending)
  }
  const running = clock()

  return {
    latencies() {
      const taken = latencies
      latencies = []
      return taken
    },
    async stop() {
      ending.abort()
      await running
      let lost = 0
      for (const [_id, rev] of expected) {
        const row = await rows.findOne({ _id }, { projection: { rev: 1 } })
        if (row?.rev !== rev) lost += 1
      }
      return { written, lost }
    },
  }
}

/** Null when the record is gone. */
async function countUp(rows: Collection<Row>, _id: string): Promise<number | null> {
  const row = await rows.findOneAndUpdate(
    { _id },
    { $inc: { rev: 1 } },
    { returnDocument: 'after', projection: { rev: 1 } },
  )
  return row?.rev ?? null
}
async function replace(rows: Collection<Row>, _id: string): Promise<number | null> {
  const row = await rows.findOne({ _id })
  if (row === null) return null
  const { matchedCount } = await rows.replaceOne(
    { _id, rev: row.rev },
    { ...row, rev: row.rev + 1 },
  )
  return matchedCount === 1 ? row.rev + 1 : null
}

/** The 99th percentile. */
export function p99(latencies: readonly number[]): number {
  const sorted = [...latencies].sort((one, other) => one - other)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.99))] ?? 0
}
