import { readHeartbeats } from '../../store/process-heartbeats.ts'
import type { Fleet } from './fleet.ts'

/** Resolves when no range holds a batch any more: nothing of a page is in flight. */
export async function quiet(fleet: Fleet): Promise<void> {
  let last = -1
  await fleet.until('the counters do not come to rest', async () => {
    await heartbeats(fleet, 1)
    const { rewrapped } = await fleet.counters()
    const isQuiet = rewrapped === last
    last = rewrapped
    return isQuiet
  })
}

/** Time as the fleet counts it: resolves when a worker has beaten so many times more. */
export async function heartbeats(fleet: Fleet, times: number): Promise<void> {
  for (let beat = 0; beat < times; beat++) {
    const latest = async () =>
      Math.max(...(await readHeartbeats(fleet.store)).map(({ at }) => at.getTime()))
    const before = await latest()
    // Two workers: half a second later is a beat of another one.
    await fleet.until('nobody beats', async () => (await latest()) > before + 500)
  }
}
