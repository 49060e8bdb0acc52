import { proxyActivities } from '@temporalio/workflow'
import type { ActivityOptions } from '@temporalio/workflow'
import { queues, type InstallIdentity } from '../contracts/names.ts'
import type { ControlActivities, NodeActivities, RewrapActivities } from '../activities/index.ts'

/**
 * The retry profiles, side by side. Whether an error is worth a retry at all is decided in `activities/failures.ts`.
 * `decide`: a short step against MongoDB or the HSM. `survey`: a step that reads much and heartbeats.
 * `ask`: a question to one host, where no answer is a finding. `sweep`: HSM work that goes on for as long as it takes.
 * Ninety attempts outlast a MongoDB that is away for a quarter of an hour.
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

/** Activities of one host. A host without a poller answers by schedule-to-start timeout after `withinMs`. */
export function askingNode(queue: string, withinMs: number): NodeActivities {
  return proxyActivities<NodeActivities>({
    taskQueue: queue,
    scheduleToStartTimeout: withinMs,
    startToCloseTimeout: '10s',
    retry: { initialInterval: '200ms', maximumAttempts: 2 },
  })
}

/**
 * A step with keys, on any host that has them. With `withinMs`, one that nobody takes in this time ends as `no-worker`;
 * without, it waits for such a host.
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

/** The last step of a removal: what is not possible within two minutes is said, and asked for again. */
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
