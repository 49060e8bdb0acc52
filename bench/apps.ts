import { setTimeout as sleep } from 'node:timers/promises'
import type { Counters } from '../contracts/rotation.ts'
import { runningRotation, sumCounters } from '../store/rotations.ts'
import type { Store } from '../store/store.ts'
import { p99, startApplication } from './applications.ts'
import { bareLoop } from './bare-loop.ts'
import { ratioFrom, type BenchFigures, type Figure } from './figures.ts'
import { fillRecords } from './fill-records.ts'
import { withLab, type Lab } from './lab.ts'
import { timed } from './machine.ts'
import type { BenchOptions } from './options.ts'

/** The bar for the applications' p99: under twice, or under 10 ms more. */
const grace = { factor: 2, milliseconds: 10 }

/**
 * What a rotation does to applications that write 200 times a second meanwhile: their p99 without a rotation, at a
 * quarter of the bare loop's speed (and how exact that rate is), and at full speed; and that none of their updates is lost.
 */
export async function run(options: BenchOptions): Promise<BenchFigures> {
  const all: BenchFigures = { figures: [], ratios: [] }
  for (const provider of options.providers) {
    await withLab({ provider, options }, async (lab) => {
      const { figures, ratios } = await measure(lab, options)
      all.figures.push(...figures)
      all.ratios.push(...ratios)
    })
  }
  return all
}

async function measure(lab: Lab, options: BenchOptions): Promise<BenchFigures> {
  const { page, check, seconds } = options
  await fillRecords(lab.store, lab.provider, options.envelopes)
  const bare = { ...lab, page, check, shards: 3 }
  await bareLoop({ ...bare, from: 1, to: 2 })
  const { perSecond } = await timed(() => bareLoop({ ...bare, from: 2, to: 1 }))
  const rate = Math.max(1, Math.floor(perSecond / 4))
  // Enough records that the measured stretch ends before the rotation does.
  await fillRecords(lab.store, lab.provider, rate * (seconds + 10), options.envelopes)
  const application = startApplication(lab.store, options.envelopes)
  await sleep(2_000)
  application.latencies()
  await sleep((seconds / 3) * 1_000)
  const alone = p99(application.latencies())
  const limited = await atRate(lab, application, rate, seconds)
  application.latencies()
  await lab.rotate(2, 1)
  const full = p99(application.latencies())
  const { written, lost } = await application.stop()
  const { provider } = lab.stack
  const at = (what: string) => `application's p99 ${what}, ${provider}`
  const allowed = Math.max(alone * grace.factor, alone + grace.milliseconds)
  return {
    figures: [
      milliseconds(at('without a rotation'), alone),
      milliseconds(at(`at --max-rate ${rate.toString()}`), limited.p99),
      milliseconds(at('at full speed'), full),
      one(`updates of the application, ${provider}`, 'updates', written),
    ],
    ratios: [
      ratioFrom(`p99 at a quarter ÷ allowed, ${provider}`, [limited.p99 / allowed], { atMost: 1 }),
      ratioFrom(`error of --max-rate over ${seconds} s, ${provider}`, [limited.error], {
        atMost: 0.05,
      }),
      ratioFrom(`lost updates, ${provider}`, [lost], { atMost: 0 }),
    ],
  }
}

/** Looks at the counters at both ends of the stretch, once the rotation is at its speed. */
async function atRate(
  lab: Lab,
  application: ReturnType<typeof startApplication>,
  rate: number,
  seconds: number,
): Promise<{ p99: number; error: number }> {
  const rotation = lab.rotate(1, 2, '--max-rate', rate.toString())
  await until(lab.store, (counters) => dealtWith(counters) >= 3 * rate)
  application.latencies()
  const [before, began] = [await counted(lab.store), performance.now()]
  await sleep(seconds * 1_000)
  const [after, ended] = [await counted(lab.store), performance.now()]
  const latency = p99(application.latencies())
  const measured = (dealtWith(after) - dealtWith(before)) / ((ended - began) / 1_000)
  await lab.keyturn('rate', '0')
  await rotation
  return { p99: latency, error: Math.abs(measured / rate - 1) }
}

async function until(store: Store, met: (counters: Counters) => boolean): Promise<void> {
  while (!met(await counted(store))) await sleep(100)
}

async function counted(store: Store): Promise<Counters> {
  return sumCounters(store, (await runningRotation(store))?._id ?? '')
}

function dealtWith({ rewrapped, superseded, quarantined }: Counters): number {
  return rewrapped + superseded + quarantined
}

function milliseconds(name: string, value: number): Figure {
  return one(name, 'ms', Math.round(value * 10) / 10)
}

function one(name: string, unit: string, value: number): Figure {
  return { name, unit, value, runs: [value], idle: null }
}
