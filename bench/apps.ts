import { setTimeout as sleep } from 'node:timers/promises'
import { median, ratioFrom, type BenchFigures, type Figure } from './figures.ts'
import { p99, startApplication, type Application } from './applications.ts'
import { bareLoop } from './bare-loop.ts'
import { fillRecords } from './fill-records.ts'
import { withFixture, type Fixture } from './fixture.ts'
import { timed, watchIdle } from './machine.ts'
import { sizeOf, type BenchOptions } from './options.ts'
import { dealtWith, reached } from './progress.ts'

/** The bar for the applications' p99: under twice, or under 10 ms more. */
const grace = { factor: 2, milliseconds: 10 }
/** Records that the application writes; more are added as the rate requires. */
const ownSize = { usual: 50_000, full: 50_000 }
/** Seconds for which the rotation runs at its rate before and after the measurement. */
const marginSeconds = 6

interface Stretches {
  alone: number[]
  limited: number[]
  full: number[]
  idles: { idle: number }[]
}

/**
 * What a rotation does to applications that write 200 times a second: their p99 without a rotation and at a quarter of the
 * bare loop's speed, in interleaved pairs, then once at full speed. It also checks that none of their updates is lost.
 */
export async function run(options: BenchOptions): Promise<BenchFigures> {
  const all: BenchFigures = { figures: [], ratios: [] }
  for (const provider of options.providers) {
    await withFixture({ provider, options }, async (fixture) => {
      const { figures, ratios } = await measure(fixture, options)
      all.figures.push(...figures)
      all.ratios.push(...ratios)
    })
  }
  return all
}

async function measure(fixture: Fixture, options: BenchOptions): Promise<BenchFigures> {
  const records = sizeOf(options, ownSize)
  const rate = await quarterOfBareLoop(fixture, options, records)
  const application = startApplication(fixture.store, records)
  const found: Stretches = { alone: [], limited: [], full: [], idles: [] }
  await sleep(2_000)
  for (let pair = 0; pair < options.pairs; pair++) {
    application.latencies()
    await sleep(options.seconds * 1_000)
    found.alone.push(p99(application.latencies()))
    await beside(fixture, application, { round: pair, rate, seconds: options.seconds }, found)
    const [alone, limited] = [found.alone.at(-1) ?? 0, found.limited.at(-1) ?? 0]
    options.print(`  p99 ${alone.toFixed(1)} ms alone, ${limited.toFixed(1)} ms at ${rate}/s`)
  }
  found.full.push(await atFullSpeed(fixture, application, options.pairs))
  const { written, lost } = await application.stop()
  return summary(fixture, rate, found, { written, lost })
}

/** Adds enough records that a measurement ends before its rotation does. */
async function quarterOfBareLoop(
  fixture: Fixture,
  options: BenchOptions,
  records: number,
): Promise<number> {
  const { page, check, seconds } = options
  await fillRecords(fixture.store, fixture.provider, records)
  const bare = { ...fixture, page, check, shards: 3 }
  await bareLoop({ ...bare, from: 1, to: 2 })
  const { perSecond } = await timed(() => bareLoop({ ...bare, from: 2, to: 1 }))
  const rate = Math.max(1, Math.floor(perSecond / 4))
  await fillRecords(fixture.store, fixture.provider, rate * (seconds + marginSeconds), records)
  return rate
}

/** One rotation: at its rate during the measurement, then at full speed to its end. */
async function beside(
  fixture: Fixture,
  application: Application,
  { round, rate, seconds }: { round: number; rate: number; seconds: number },
  found: Stretches,
): Promise<void> {
  const rotation = fixture.rotate(...directionOf(round), '--max-rate', rate.toString())
  await reached(fixture.store, 2 * rate)
  application.latencies()
  const idle = watchIdle()
  await sleep(seconds * 1_000)
  found.limited.push(p99(application.latencies()))
  found.idles.push({ idle: idle() })
  if ((await dealtWith(fixture.store)) === 0) throw new Error('the rotation was over too early')
  await fixture.keyturn('rate', '0')
  await rotation
}

/** Measures while a rotation goes from a tenth to nine tenths of its envelopes. */
async function atFullSpeed(
  fixture: Fixture,
  application: Application,
  round: number,
): Promise<number> {
  const total = await fixture.store.db.collection('records').estimatedDocumentCount()
  const rotation = fixture.rotate(...directionOf(round))
  await reached(fixture.store, total / 10)
  application.latencies()
  await reached(fixture.store, total * 0.9)
  const latency = p99(application.latencies())
  await rotation
  return latency
}

/** Rotations alternate between 1 → 2 and 2 → 1. */
function directionOf(round: number): [number, number] {
  return [1 + (round % 2), 2 - (round % 2)]
}

function summary(
  fixture: Fixture,
  rate: number,
  found: Stretches,
  { written, lost }: { written: number; lost: number },
): BenchFigures {
  const { provider } = fixture.stack
  const at = (what: string) => `application's p99 ${what}, ${provider}`
  const shares = found.limited.map((limited, pair) => {
    const alone = found.alone[pair] ?? NaN
    return limited / Math.max(alone * grace.factor, alone + grace.milliseconds)
  })
  const updates = { name: `updates of the application, ${provider}`, unit: 'updates' }
  return {
    figures: [
      milliseconds(at('without a rotation'), found.alone),
      milliseconds(at(`at --max-rate ${rate.toString()}`), found.limited),
      milliseconds(at('at full speed'), found.full),
      { ...updates, value: written, runs: [written], idle: null },
    ],
    ratios: [
      ratioFrom(`p99 at a quarter ÷ allowed, ${provider}`, shares, { atMost: 1 }, found.idles),
      ratioFrom(`lost updates, ${provider}`, [lost], { atMost: 0 }),
    ],
  }
}

function milliseconds(name: string, values: readonly number[]): Figure {
  const runs = values.map((value) => Math.round(value * 10) / 10)
  return { name, unit: 'ms', value: median(runs), runs, idle: null }
}
