import type { WorkflowExecutionDescription } from '@temporalio/client'
import { defaultPayloadConverter, type Payload } from '@temporalio/common'
import type { TemporalLink } from './connection.ts'
import { describe } from './live-rotation.ts'

/** How many children are read; the others wait for the same. */
const childrenAtMost = 4

type Pending = NonNullable<
  NonNullable<WorkflowExecutionDescription['raw']['pendingActivities']>[number]
>

/** How many events of a history are searched, from its end, for the start of a step. */
const eventsAtMost = 200

/**
 * What the steps of a workflow and of its children wait for, a line each: from the heartbeat of a running step, the call that
 * MongoDB has not answered; for a retried step, its last failure and since when it is tried. Empty while nothing waits.
 */
export async function awaitedSteps(link: TemporalLink, workflowId: string): Promise<string[]> {
  const described = await describe(link, workflowId)
  if (described === null) return []
  const children = (described.raw.pendingChildren ?? []).slice(0, childrenAtMost)
  const lines = await Promise.all([
    awaitedIn(link, described),
    ...children.map(async (child) => {
      const range = child.workflowId ? await describe(link, child.workflowId) : null
      return range === null ? [] : await awaitedIn(link, range)
    }),
  ])
  return [...new Set(lines.flat())]
}

/** Leaves out `watchFleet`: the rotation's row has newer data on the fleet. */
async function awaitedIn(
  link: TemporalLink,
  described: WorkflowExecutionDescription,
): Promise<string[]> {
  const steps = described.raw.pendingActivities ?? []
  const others = steps.filter((step) => nameOf(step) !== 'watchFleet')
  if (!others.some(isRepeated)) return others.flatMap((step) => awaitedBy(step, null))
  const begun = await beginnings(link, described)
  return others.flatMap((step) => awaitedBy(step, begun.get(step.activityId ?? '') ?? null))
}

function awaitedBy(step: Pending, begun: Date | null): string[] {
  const lines = heartbeatLines(step.heartbeatDetails?.payloads?.[0])
  if (lines.length > 0) return lines.map((line) => `${line} (${nameOf(step)})`)
  if (!isRepeated(step)) return []
  const since = begun ?? dateOf(step.lastAttemptCompleteTime ?? step.lastStartedTime)
  const tried =
    since === null ? '' : `, ${begun === null ? 'last' : 'since'} ${since.toISOString()}`
  return [`${nameOf(step)}: ${step.lastFailure?.message} (attempt ${step.attempt}${tried})`]
}

/** When each step was first scheduled, from the history: Temporal describes only a step's last attempt. */
async function beginnings(
  { client, namespace }: TemporalLink,
  { workflowId, runId }: WorkflowExecutionDescription,
): Promise<Map<string, Date>> {
  const { history } = await client.workflowService.getWorkflowExecutionHistoryReverse({
    namespace,
    execution: { workflowId, runId },
    maximumPageSize: eventsAtMost,
  })
  const begun = new Map<string, Date>()
  for (const { eventTime, activityTaskScheduledEventAttributes: step } of history?.events ?? []) {
    const at = dateOf(eventTime)
    if (step?.activityId && at !== null) begun.set(step.activityId, at)
  }
  return begun
}

function isRepeated({ attempt, lastFailure }: Pending): boolean {
  return (attempt ?? 1) > 1 && typeof lastFailure?.message === 'string'
}

function nameOf({ activityType }: Pending): string {
  return activityType?.name ?? 'a step'
}

function dateOf(time: Pending['lastStartedTime']): Date | null {
  return time?.seconds ? new Date(Number(time.seconds) * 1000) : null
}

function heartbeatLines(details: Payload | null | undefined): string[] {
  if (details === null || details === undefined) return []
  const heartbeat: { awaiting?: unknown } | null = defaultPayloadConverter.fromPayload(details)
  const awaiting = heartbeat?.awaiting
  return Array.isArray(awaiting) ? awaiting.filter((line) => typeof line === 'string') : []
}
