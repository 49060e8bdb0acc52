import { readHeartbeats } from '../../store/process-heartbeats.ts'
import type { Fleet } from './fleet.ts'

/** Resolves when the counters have not changed for a heartbeat, so that no page is in flight. */
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

/** Resolves after so many more heartbeats of a worker. */
export async function heartbeats(fleet: Fleet, times: number): Promise<void> {
  for (let beat = 0; beat < times; beat++) {
    const latest = async () =>
      Math.max(...(await readHeartbeats(fleet.store)).map(({ at }) => at.getTime()))
    const before = await latest()
    // There are two workers: a heartbeat half a second later may be the other worker's.
    await fleet.until('no heartbeat came', async () => (await latest()) > before + 500)
  }
}
