import { setTimeout as sleep } from 'node:timers/promises'
import type { Store } from '../../store/store.ts'
import type { Series } from '../figures.ts'
import { watchIdle } from '../machine.ts'
import { dealtWith } from '../progress.ts'
import type { Writers } from './writers.ts'

const everyMs = 2_000

/** Lines over time, and `search` called now and then beside them. */
export function startProgress(
  store: Store,
  { done }: Writers,
  search: () => Promise<void>,
  searchEveryMs: number,
): { stop(): Promise<{ series: Series[]; idle: number }> } {
  const dealt: [number, number][] = []
  const writes: [number, number][] = []
  const ending = new AbortController()
  const idle = watchIdle()
  const began = performance.now()
  const run = async () => {
    let searchedAt = 0
    let before = { at: began, written: 0 }
    while (!ending.signal.aborted) {
      await sleep(everyMs)
      const now = { at: performance.now(), written: done.written }
      const seconds = (now.at - began) / 1_000
      writes.push([seconds, ((now.written - before.written) * 1_000) / (now.at - before.at)])
      before = now
      // MongoDB is away at times: that is a gap in the line.
      const count = await dealtWith(store).catch(() => null)
      if (count !== null) dealt.push([seconds, count])
      if (now.at - searchedAt < searchEveryMs) continue
      searchedAt = now.at
      await search()
    }
  }
  const running = run()
  return {
    async stop() {
      ending.abort()
      await running
      const series = [
        { name: 'envelopes processed by the running rotation', unit: 'envelopes', points: dealt },
        { name: 'writes of the applications', unit: 'writes/s', points: writes },
      ]
      return {
        series: series.map((one) => ({ ...one, points: rounded(one.points) })),
        idle: idle(),
      }
    },
  }
}

function rounded(points: readonly [number, number][]): [number, number][] {
  return points.map(([at, value]) => [Math.round(at), Math.round(value)])
}
