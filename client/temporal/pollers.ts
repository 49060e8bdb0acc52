import { setTimeout as sleep } from 'node:timers/promises'
import { KeyturnError } from '../../contracts/errors.ts'
import { queues, type InstallIdentity } from '../../contracts/names.ts'
import type { TemporalLink } from './connection.ts'

/** What a worker takes: `control` runs workflows, `rewrap` works with keys. */
export type WorkerQueue = 'control' | 'rewrap'

/** What of each queue its workers poll for: workflows, or activities (temporal.api.enums.v1.TaskQueueType). */
const taskQueueTypes: Record<WorkerQueue, number> = { control: 1, rewrap: 2 }

/** A worker that has just come up polls a moment later, in milliseconds. */
const comesUpWithinMs = 10_000
const betweenLooksMs = 250

/**
 * Throws no-worker when nobody takes the work of one of these duties, although workers live: a workflow would only wait.
 * Heartbeats do not tell it, for a control node writes none; Temporal knows who polls a queue, and remembers it for five
 * minutes. A client that may not ask goes on.
 */
export async function requirePollers(
  link: TemporalLink,
  install: InstallIdentity,
  duties: readonly WorkerQueue[],
  withinMs = comesUpWithinMs,
): Promise<void> {
  for (const duty of duties) {
    const began = performance.now()
    while (!(await isPolled(link, install, duty))) {
      if (performance.now() - began > withinMs) throw notPolled(duty)
      await sleep(betweenLooksMs)
    }
  }
}

/** Whether somebody polls for the work of a duty, or did so in the last minutes. */
export async function isPolled(
  link: TemporalLink,
  install: InstallIdentity,
  duty: WorkerQueue,
): Promise<boolean> {
  const request = {
    namespace: link.namespace,
    taskQueue: { name: queues[duty](install) },
    taskQueueType: taskQueueTypes[duty],
  }
  try {
    // The enum is of a package that is not ours to import.
    // eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment
    const { pollers } = await link.client.workflowService.describeTaskQueue(request)
    return pollers.length > 0
  } catch {
    return true
  }
}

function notPolled(duty: WorkerQueue): KeyturnError {
  return new KeyturnError('no-worker', `workers are alive, but none with the role ${duty}`, {
    hint: `start one: keyturn worker --roles ${duty}`,
  })
}
