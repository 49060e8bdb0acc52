import { setTimeout as sleep } from 'node:timers/promises'
import type { ProviderName } from '../contracts/kek.ts'
import { figure, ratioFrom, ratioOf, type BenchFigures, type Series } from './figures.ts'
import { fillRecords } from './fill-records.ts'
import { withFixture, type Fixture, type Rotated } from './fixture.ts'
import { residentMegabytes } from './machine.ts'
import { sizeOf, type BenchOptions } from './options.ts'
import { dealtWith, reached } from './progress.ts'

/** The bars are for a million against a hundred thousand (speed), and against ten thousand (memory). */
const ownSize = { usual: 200_000, full: 1_000_000 }
const middleSize = 100_000
/** How many megabytes more a worker may use at the large size. */
const memoryBar = { atMost: 64 }
const speedBar = { atLeast: 0.9 }
const lookEveryMs = 500
/** Where the worker is killed, as a share of the envelopes. */
const killAt = 0.4

interface Watched {
  rotated: Rotated
  /** Over time: memory of the largest worker, and progress of the rotation. */
  memory: Series
  progress: Series
  most: number
}

/**
 * Speed at a middle and a large size in interleaved pairs, on two fleets that both stay up; the worker's memory at a small
 * and the large size. Finally one rotation of the large size whose worker is killed and restarted on the way.
 */
export async function run(options: BenchOptions): Promise<BenchFigures> {
  const all: Required<BenchFigures> = { figures: [], ratios: [], series: [] }
  for (const provider of options.providers) {
    const { figures, ratios, series } = await sizes(provider, options)
    all.figures.push(...figures)
    all.ratios.push(...ratios)
    all.series.push(...series)
  }
  return all
}

async function sizes(
  provider: ProviderName,
  options: BenchOptions,
): Promise<Required<BenchFigures>> {
  const large = sizeOf(options, ownSize)
  const middle = Math.min(middleSize, Math.floor(large / 2))
  const at = <T>(envelopes: number, use: (fixture: Fixture) => Promise<T>) =>
    withFixture({ provider, options }, async (fixture) => {
      options.print(`size with ${provider}: ${envelopes} records`)
      await fillRecords(fixture.store, fixture.provider, envelopes)
      return use(fixture)
    })
  const small = await at(options.small, (fixture) => watched(fixture, 0))
  const runs = await at(middle, (other) => at(large, (fixture) => pairs(other, fixture, options)))
  const whole = runs.killed
  const name = (what: string) => `${what}, ${provider}`
  const most = Math.max(...runs.large.map((one) => one.most))
  const megabytes = (what: string, value: number) => {
    return { name: name(what), unit: 'MB', value, runs: [value], idle: null }
  }
  if (whole.rotated.rewrapped !== large) throw new Error('the rotation lost or found an envelope')
  const [larger, smaller] = [runs.large.map(({ rotated }) => rotated), runs.middle]
  return {
    figures: [
      figure(name(`${middle} envelopes`), 'envelopes/s', smaller),
      figure(name(`${large} envelopes`), 'envelopes/s', larger),
      figure(
        name(`${large} envelopes, worker killed`),
        'envelopes/s',
        [whole.rotated],
        'at 40 %, and another one in its place',
      ),
      megabytes(`worker with its lanes at ${options.small}`, small.most),
      megabytes(`worker with its lanes at ${large}`, most),
    ],
    ratios: [
      ratioOf(name(`speed at ${large} ÷ at ${middle}`), larger, smaller, speedBar),
      ratioFrom(
        name(`worker memory at ${large} − at ${options.small}, in MB`),
        [most - small.most],
        memoryBar,
      ),
      ratioFrom(
        name(`re-wrapped with a worker killed ÷ ${large}`),
        [whole.rotated.rewrapped / large],
        { atLeast: 1, atMost: 1 },
      ),
    ],
    series: [whole.progress, whole.memory],
  }
}

async function pairs(
  middleFixture: Fixture,
  fixture: Fixture,
  options: BenchOptions,
): Promise<{ middle: Rotated[]; large: Watched[]; killed: Watched }> {
  const middle: Rotated[] = []
  const large: Watched[] = []
  // A warm-up, which compiles both workers' code.
  await middleFixture.rotate(1, 2)
  for (let pair = 0; pair < options.pairs; pair++) {
    middle.push(await middleFixture.rotate(2 - (pair % 2), 1 + (pair % 2)))
    large.push(await watched(fixture, pair))
    const [one, other] = [middle.at(-1), large.at(-1)?.rotated].map((run) => run?.perSecond ?? 0)
    options.print(`  pair ${pair + 1}: ${one?.toFixed(0) ?? ''}/s, ${other?.toFixed(0) ?? ''}/s`)
  }
  return { middle, large, killed: await watched(fixture, options.pairs, { kill: true }) }
}

/** The `round`th rotation of a fixture, from 0. */
async function watched(fixture: Fixture, round: number, { kill = false } = {}): Promise<Watched> {
  const { provider } = fixture.stack
  const memory: Series = { name: `worker memory, ${provider}`, unit: 'MB', points: [] }
  const progress: Series = { name: `re-wrapped, ${provider}`, unit: 'envelopes', points: [] }
  const began = performance.now()
  const ending = new AbortController()
  const looking = (async () => {
    while (!ending.signal.aborted) {
      const sizes = await Promise.all(fixture.workers.map(({ pid }) => residentMegabytes(pid)))
      const second = (performance.now() - began) / 1_000
      memory.points.push([second, Math.max(...sizes)])
      progress.points.push([second, await dealtWith(fixture.store)])
      await sleep(lookEveryMs)
    }
  })()
  const rotation = fixture.rotate(1 + (round % 2), 2 - (round % 2))
  try {
    if (kill) {
      const total = await fixture.store.db.collection('records').estimatedDocumentCount()
      await reached(fixture.store, killAt * total)
      await fixture.killWorker(0)
    }
    const rotated = await rotation
    ending.abort()
    await looking
    const most = Math.max(0, ...memory.points.map(([, size]) => size))
    return { rotated, memory, progress: ended(progress), most }
  } finally {
    ending.abort()
  }
}

/** Removes the zeros after the rotation's end, when no rotation runs any more. */
function ended(series: Series): Series {
  const most = Math.max(...series.points.map(([, value]) => value))
  const last = series.points.findLastIndex(([, value]) => value === most)
  return { ...series, points: series.points.slice(0, last + 1) }
}
