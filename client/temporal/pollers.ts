import { setTimeout as sleep } from 'node:timers/promises'
import { KeyturnError } from '../../contracts/errors.ts'
import { queues, type InstallIdentity } from '../../contracts/names.ts'
import type { TemporalLink } from './connection.ts'

/** The queues of workers: `control` has workflows, `rewrap` has work with keys. */
export type WorkerQueue = 'control' | 'rewrap'

/** The kind of task of each queue: workflow 1, activity 2 (temporal.api.enums.v1.TaskQueueType). */
const taskQueueTypes: Record<WorkerQueue, number> = { control: 1, rewrap: 2 }

/** How long to wait for a poller: a worker that has just started polls a moment later. In milliseconds. */
const comesUpWithinMs = 10_000
const betweenLooksMs = 250

/**
 * Throws no-worker when no worker polls one of these queues: a workflow would only wait. Heartbeats cannot tell, since a
 * control node writes none. Temporal lists the pollers of a queue for five minutes after their last poll. A client without
 * the right to ask continues.
 */
export async function requirePollers(
  link: TemporalLink,
  install: InstallIdentity,
  names: readonly WorkerQueue[],
  withinMs = comesUpWithinMs,
): Promise<void> {
  for (const queue of names) {
    const began = performance.now()
    while (!(await isPolled(link, install, queue))) {
      if (performance.now() - began > withinMs) throw notPolled(queue)
      await sleep(betweenLooksMs)
    }
  }
}

/** Whether a worker polls the queue, or did so in the last five minutes. */
export async function isPolled(
  link: TemporalLink,
  install: InstallIdentity,
  queue: WorkerQueue,
): Promise<boolean> {
  const request = {
    namespace: link.namespace,
    taskQueue: { name: queues[queue](install) },
    taskQueueType: taskQueueTypes[queue],
  }
  try {
    // The enum is in a package that is not a dependency.
    // eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment
    const { pollers } = await link.client.workflowService.describeTaskQueue(request)
    return pollers.length > 0
  } catch {
    return true
  }
}

function notPolled(queue: WorkerQueue): KeyturnError {
  return new KeyturnError('no-worker', `workers are alive, but none with the role ${queue}`, {
    hint: `start one: keyturn worker --roles ${queue}`,
  })
}
