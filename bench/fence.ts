import { setTimeout as sleep } from 'node:timers/promises'
import type { Store } from '../store/store.ts'
import { ratioFrom, type BenchFigures, type Figure } from './figures.ts'
import { fillRecords, place, recordId } from './fill-records.ts'
import { withFixture } from './fixture.ts'
import { sizeOf, type BenchOptions } from './options.ts'

const ownSize = { usual: 2_000, full: 2_000 }
const everyMs = 5
const heldMs = 15_000
/** How long the fence may delay a write, in milliseconds: its own half second, and scheduling on a busy machine. */
const bar = { atMost: 750 }

/** 200 writes a second beside `remove`, whose fence waits for a transaction that stays open for 15 seconds. */
export async function run(options: BenchOptions): Promise<BenchFigures> {
  return withFixture({ provider: 'env', options }, async (fixture) => {
    await fillRecords(fixture.store, fixture.provider, sizeOf(options, ownSize))
    await fixture.rotate(1, 2)
    const quiet = await writesFor(fixture.store, 5_000)
    const beside = await fixture.store.client.withSession(async (session) => {
      session.startTransaction()
      await records(fixture.store).updateOne(
        { _id: recordId(0) },
        { $set: { held: 1 } },
        { session },
      )
      const removal = fixture.keyturn('remove', '--version', '1')
      const waits = await writesFor(fixture.store, heldMs)
      await session.commitTransaction()
      const { state } = await removal
      if (state !== 'destroyed') throw new Error(`version 1 is ${String(state)}`)
      return waits
    })
    const what = 'writes at 200/s'
    const added = Math.max(...beside) - Math.max(...quiet)
    return {
      figures: [
        ...figuresOf(`${what}, nothing beside`, quiet),
        ...figuresOf(`${what}, beside a remove and an open transaction`, beside),
      ],
      ratios: [ratioFrom('what the fence adds to the slowest write, ms', [added], bar)],
    }
  })
}

/** Writes as most applications do; waiting for a majority is no cost of the fence. */
const records = (store: Store) =>
  store.db.collection<{ _id: string }>(place.collection, { writeConcern: { w: 1 } })

/** How long each write took, from the time at which it was due. */
async function writesFor(store: Store, forMs: number): Promise<number[]> {
  const beganMs = performance.now()
  const writes: Promise<number>[] = []
  for (let at = 0; at * everyMs < forMs; at += 1) {
    const dueMs = beganMs + at * everyMs
    await sleep(Math.max(0, dueMs - performance.now()))
    const id = recordId(1 + (at % 1_000))
    const write = records(store).updateOne({ _id: id }, { $set: { written: at } })
    writes.push(write.then(() => performance.now() - dueMs))
  }
  return Promise.all(writes)
}

function figuresOf(name: string, waits: readonly number[]): Figure[] {
  const sorted = [...waits].sort((one, other) => one - other)
  const share = (part: number) => Math.round(sorted[Math.floor(sorted.length * part)] ?? Number.NaN)
  const one = (which: string, value: number): Figure => {
    return { name: `${name}, ${which}`, unit: 'ms', value, runs: [value], idle: null }
  }
  return [one('p99', share(0.99)), one('slowest', Math.round(sorted.at(-1) ?? Number.NaN))]
}
