import { setTimeout as sleep } from 'node:timers/promises'
import { runningRotation, sumCounters } from '../store/rotations.ts'
import { ratioFrom, type BenchFigures, type Series } from './figures.ts'
import { fillRecords } from './fill-records.ts'
import { withLab, type Lab, type Rotated } from './lab.ts'
import { residentMegabytes } from './machine.ts'
import type { BenchOptions } from './options.ts'

/** The bar: a worker's memory at a million envelopes minus that at ten thousand. */
const memoryBar = { atMost: 64 }
const speedBar = { atLeast: 0.9 }
const lookEveryMs = 500

interface Sized extends Rotated {
  memory: Series
  progress: Series
  most: number
}

/** Speed and memory at a small and a large number of envelopes, on fresh workers each, with both drawn over time. */
export async function run(options: BenchOptions): Promise<BenchFigures> {
  const all: Required<BenchFigures> = { figures: [], ratios: [], series: [] }
  for (const provider of options.providers) {
    const small = await at(options.small, provider, options)
    const middle = await at(Math.min(100_000, options.large), provider, options)
    const large = await at(options.large, provider, options)
    const name = (what: string) => `${what}, ${provider}`
    for (const one of [small, middle, large]) {
      const { idle, perSecond, most } = one
      const size = name(`${one.rewrapped.toString()} envelopes`)
      const runs = [Math.round(perSecond)]
      all.figures.push({ name: size, unit: 'envelopes/s', value: runs[0] ?? 0, runs, idle })
      all.figures.push({
        ...{ name: `${size}: worker with its lanes`, unit: 'MB', value: most, runs: [most] },
        idle: null,
      })
    }
    const [speed, memory] = [large.perSecond / middle.perSecond, large.most - small.most]
    all.ratios.push(
      ratioFrom(name(`speed at ${large.rewrapped} ÷ at ${middle.rewrapped}`), [speed], speedBar),
      ratioFrom(name('worker memory, large − small, in MB'), [memory], memoryBar),
    )
    all.series.push(large.progress, large.memory)
  }
  return all
}

async function at(
  envelopes: number,
  provider: BenchOptions['providers'][number],
  options: BenchOptions,
): Promise<Sized> {
  options.say(`size with ${provider}: ${envelopes} records`)
  return withLab({ provider, options }, async (lab) => {
    await fillRecords(lab.store, lab.provider, envelopes)
    const watch = watching(lab)
    const rotated = await lab.rotate(1, 2)
    return { ...rotated, ...(await watch()) }
  })
}

/** The largest worker, and how far the rotation is, until the returned function is called. */
function watching(lab: Lab): () => Promise<Pick<Sized, 'memory' | 'progress' | 'most'>> {
  const { provider } = lab.stack
  const memory: Series = { name: `worker memory, ${provider}`, unit: 'MB', points: [] }
  const progress: Series = { name: `re-wrapped, ${provider}`, unit: 'envelopes', points: [] }
  const began = performance.now()
  const ending = new AbortController()
  const running = (async () => {
    while (!ending.signal.aborted) {
      const sizes = await Promise.all(lab.workers.map(({ pid }) => residentMegabytes(pid)))
      const second = (performance.now() - began) / 1_000
      memory.points.push([second, Math.max(...sizes)])
      const id = (await runningRotation(lab.store))?._id ?? ''
      progress.points.push([second, (await sumCounters(lab.store, id)).rewrapped])
      await sleep(lookEveryMs)
    }
  })()
  return async () => {
    ending.abort()
    await running
    const most = Math.max(0, ...memory.points.map(([, size]) => size))
    return { memory, progress: ended(progress), most }
  }
}

/** Without the zeros behind the rotation's end, when no row is running any more. */
function ended(series: Series): Series {
  const most = Math.max(...series.points.map(([, value]) => value))
  const last = series.points.findLastIndex(([, value]) => value === most)
  return { ...series, points: series.points.slice(0, last + 1) }
}
