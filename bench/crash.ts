import { setTimeout as sleep } from 'node:timers/promises'
import type { RangeDoc } from '../store/documents.ts'
import { readRanges } from '../store/rewrap-ranges.ts'
import { readRotation, runningRotation } from '../store/rotations.ts'
import { ratioFrom, type BenchFigures } from './figures.ts'
import { fillRecords } from './fill-records.ts'
import { withFixture, type Fixture } from './fixture.ts'
import { sizeOf, type BenchOptions } from './options.ts'

/** With any budget, even an unreachable one, each sweep reserves its calls in the rotation's row first. */
const endless = 1_000_000_000
const callsEach = { all: 3, sampled: 3, none: 2 }

/**
 * Kills one of two workers in the middle of a rotation. Calls that were reserved and never counted were wasted by the
 * token. A range counts as taken over when its document has a new attempt.
 */
export async function run(options: BenchOptions): Promise<BenchFigures> {
  const all: BenchFigures = { figures: [], ratios: [] }
  for (const provider of options.providers) {
    await withFixture({ provider, options: { ...options, workers: 2 } }, async (fixture) => {
      const { figures, ratios } = await measure(fixture, options)
      all.figures.push(...figures)
      all.ratios.push(...ratios)
    })
  }
  return all
}

async function measure(fixture: Fixture, options: BenchOptions): Promise<BenchFigures> {
  const { page, check } = options
  const envelopes = sizeOf(options, { usual: 60_000, full: 60_000 })
  const { store, stack } = fixture
  await fillRecords(store, fixture.provider, envelopes)
  const rotation = fixture.rotate(1, 2, '--max-hsm-calls', endless.toString())
  const id = await runningAt(fixture, envelopes / 5)
  const before = (await readRanges(store, id)).filter((range) => isHalfDone(range))
  await fixture.workers[0]?.process.kill()
  const killed = performance.now()
  const waits = await takeovers(fixture, id, before, killed)
  const { row, rewrapped } = await rotation
  const counted = row.counters?.hsm_calls ?? 0
  const vain = ((await readRotation(store, id))?.hsm_reserved ?? 0) - counted
  const pages = vain / (callsEach[check] * page)
  const ranges = Math.max(1, waits.length)
  const name = (what: string) => `${what}, ${stack.provider}`
  const figure = (what: string, unit: string, value: number) => {
    return { name: name(what), unit, value, runs: [value], idle: null }
  }
  return {
    figures: [
      figure('re-wrapped in spite of a killed worker', 'envelopes', rewrapped),
      figure('ranges that another worker took over', 'ranges', waits.length),
      figure('HSM calls made in vain', 'calls', vain),
    ],
    ratios: [
      ratioFrom(name('pages of HSM work in vain ÷ range'), [pages / ranges], { atMost: 3 }),
      ratioFrom(name('slowest takeover in seconds'), [Math.max(0, ...waits)], { atMost: 15 }),
      ratioFrom(name('re-wrapped ÷ envelopes'), [rewrapped / envelopes], { atLeast: 1 }),
    ],
  }
}

async function runningAt({ store }: Fixture, rewrapped: number): Promise<string> {
  for (;;) {
    const id = (await runningRotation(store))?._id
    if (id !== undefined) {
      const ranges = await readRanges(store, id)
      const sum = ranges.reduce((total, { counters }) => total + counters.rewrapped, 0)
      if (sum >= rewrapped) return id
    }
    await sleep(20)
  }
}

function isHalfDone({ closed, attempt, cursor }: RangeDoc): boolean {
  return !closed && attempt > 0 && cursor !== null
}

/** Seconds until each range that stopped after the kill was taken over; ranges that continue belong to the other worker. */
async function takeovers(
  { store }: Fixture,
  id: string,
  before: readonly RangeDoc[],
  killed: number,
): Promise<number[]> {
  const waits = new Map<string, number>()
  const seen = new Map(before.map((range) => [range._id.shard, range]))
  for (;;) {
    const ranges = await readRanges(store, id)
    for (const now of ranges) {
      const was = seen.get(now._id.shard)
      if (was !== undefined && now.attempt > was.attempt && !waits.has(now._id.shard)) {
        waits.set(now._id.shard, (performance.now() - killed) / 1_000)
      }
    }
    const isOver = ranges.every(({ closed }) => closed)
    if (isOver) return [...waits.values()]
    await sleep(100)
  }
}
