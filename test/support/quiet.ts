import { workflowIds } from '../../contracts/names.ts'
import { readHeartbeats } from '../../store/process-heartbeats.ts'
import type { Fleet } from './fleet.ts'

/**
 * Resolves when a paused rotation stands still: twice in a row, a heartbeat apart, no worker sweeps a range or is about to, and
 * the counters are the same. Between two slow pages they are the same too.
 */
export async function quiet(fleet: Fleet): Promise<void> {
  let last = -1
  await fleet.until('the rotation does not come to rest', async () => {
    await heartbeats(fleet, 1)
    const { rewrapped } = await fleet.counters()
    const isQuiet = (await isAtRest(fleet)) && rewrapped === last
    last = rewrapped
    return isQuiet
  })
}

/** Whether no range of the rotation has a task of any kind. */
async function isAtRest(fleet: Fleet): Promise<boolean> {
  const described = async (id: string) =>
    (await fleet.temporal.workflow.getHandle(id).describe()).raw
  const { pendingChildren } = await described(workflowIds.rotate(fleet.identity))
  const ranges = (pendingChildren ?? []).map(({ workflowId }) => workflowId ?? '')
  const told = await Promise.all(ranges.map(described))
  return told.every(({ pendingActivities, pendingWorkflowTask }) => {
    return (pendingActivities ?? []).length === 0 && pendingWorkflowTask == null
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
