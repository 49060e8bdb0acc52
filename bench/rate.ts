import { setTimeout as sleep } from 'node:timers/promises'
import { figure, ratioFrom, type BenchFigures, type Timed } from './figures.ts'
import { fillRecords } from './fill-records.ts'
import { withFixture } from './fixture.ts'
import { watchIdle } from './machine.ts'
import type { BenchOptions } from './options.ts'
import { dealtWith, reached } from './progress.ts'

const envelopesPerSecond = 1_500
/** A measurement lasts so many times `--seconds`: 30 seconds by default, for which the bar is defined. */
const stretches = 2
const bar = { atMost: 0.05 }

/** One rotation with two workers, measured several times in a row. */
export async function run(options: BenchOptions): Promise<BenchFigures> {
  const { pairs, seconds: each, providers } = options
  const provider = providers[0] ?? 'env'
  const seconds = stretches * each
  const runs: Timed[] = []
  await withFixture({ provider, options: { ...options, workers: 2 } }, async (fixture) => {
    const { store } = fixture
    await fillRecords(store, fixture.provider, envelopesPerSecond * (pairs * seconds + 15))
    const rotation = fixture.rotate(1, 2, '--max-rate', envelopesPerSecond.toString())
    await reached(store, 3 * envelopesPerSecond)
    for (let pair = 0; pair < pairs; pair++) {
      const idle = watchIdle()
      const [before, began] = [await dealtWith(store), performance.now()]
      await sleep(1_000 * seconds)
      const [after, ended] = [await dealtWith(store), performance.now()]
      const perSecond = (after - before) / ((ended - began) / 1_000)
      runs.push({ perSecond, idle: idle() })
      options.print(`  ${perSecond.toFixed(0)}/s of ${envelopesPerSecond}`)
    }
    await fixture.keyturn('rate', '0')
    await rotation
  })
  const errors = runs.map(({ perSecond }) => Math.abs(perSecond / envelopesPerSecond - 1))
  const name = `--max-rate ${envelopesPerSecond} with two workers, ${provider}`
  return {
    figures: [figure(name, 'envelopes/s', runs)],
    ratios: [ratioFrom(`error over ${seconds} s of ${name}`, errors, bar, runs)],
  }
}
