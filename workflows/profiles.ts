import { proxyActivities } from '@temporalio/workflow'
import type { ActivityOptions } from '@temporalio/workflow'
import { queues, type InstallIdentity } from '../contracts/names.ts'
import type { ControlActivities, NodeActivities, RewrapActivities } from '../activities/index.ts'

/**
 * The retry profiles. `activities/failures.ts` decides whether an error is retried at all.
 * `decide`: a short step against MongoDB or the HSM. `survey`: a long step that reads much and heartbeats.
 * `sweep`: HSM work without an end to its retries.
 * Ninety attempts cover a MongoDB outage of a quarter of an hour.
 */
const decide: ActivityOptions = {
  startToCloseTimeout: '30s',
  retry: { initialInterval: '200ms', maximumInterval: '10s', maximumAttempts: 90 },
}
const survey: ActivityOptions = {
  startToCloseTimeout: '6h',
  heartbeatTimeout: '10s',
  retry: { initialInterval: '500ms', maximumInterval: '10s', maximumAttempts: 90 },
}
const sweep: ActivityOptions = {
  startToCloseTimeout: '10m',
  heartbeatTimeout: '6s',
  retry: { initialInterval: '1s', maximumInterval: '1m' },
}

export const deciding = proxyActivities<ControlActivities>(decide)
export const surveying = proxyActivities<ControlActivities>(survey)

/** Activities of one host. Without a poller there, they end in a schedule-to-start timeout after `withinMs`; the caller treats that as a result. */
export function askingNode(queue: string, withinMs: number): NodeActivities {
  return proxyActivities<NodeActivities>({
    taskQueue: queue,
    scheduleToStartTimeout: withinMs,
    startToCloseTimeout: '10s',
    retry: { initialInterval: '200ms', maximumAttempts: 2 },
  })
}

/**
 * Activities that need keys, on any host that has them. With `withinMs`, a step that no worker takes in this time ends as
 * `no-worker`; without it, the step waits for such a host.
 */
export function holdingKeys(
  install: InstallIdentity,
  summary: string,
  withinMs?: number,
): RewrapActivities {
  return proxyActivities<RewrapActivities>({
    ...decide,
    startToCloseTimeout: '1m',
    taskQueue: queues.rewrap(install),
    summary,
    ...(withinMs === undefined ? {} : { scheduleToStartTimeout: withinMs }),
  })
}

/** The last step of a removal. It fails if it does not succeed within two minutes, and can be requested again. */
export function removingKey(install: InstallIdentity): RewrapActivities {
  return proxyActivities<RewrapActivities>({
    ...survey,
    taskQueue: queues.rewrap(install),
    summary: 'the key in the HSM',
    startToCloseTimeout: '90s',
    scheduleToCloseTimeout: '2m',
  })
}

export function sweeping(queue: string, summary: string): RewrapActivities {
  return proxyActivities<RewrapActivities>({
    ...sweep,
    taskQueue: queue,
    summary,
    cancellationType: 'WAIT_CANCELLATION_COMPLETED',
  })
}
