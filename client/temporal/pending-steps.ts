import type { WorkflowExecutionDescription } from '@temporalio/client'
import { defaultPayloadConverter, type Payload } from '@temporalio/common'
import type { TemporalLink } from './connection.ts'
import { describe } from './live-rotation.ts'

/** Ranges whose steps are looked at; the others wait for the same. */
const childrenAtMost = 4

type Pending = NonNullable<
  NonNullable<WorkflowExecutionDescription['raw']['pendingActivities']>[number]
>

/** Events of a history that are searched, from its end, for where a step began. */
const eventsAtMost = 200

/**
 * What the steps of a workflow and of its children wait for, a line each: what MongoDB has not answered, as a step that runs
 * tells, and why one that is repeated has failed, and since when it is tried. Empty while all goes on.
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

/** `watchFleet` tells of the fleet, which the rotation's row has newer. */
async function awaitedIn(
  link: TemporalLink,
  described: WorkflowExecutionDescription,
): Promise<string[]> {
  const steps = described.raw.pendingActivities ?? []
  const told = steps.filter((step) => nameOf(step) !== 'watchFleet')
  if (!told.some(isRepeated)) return told.flatMap((step) => awaitedBy(step, null))
  const begun = await beginnings(link, described)
  return told.flatMap((step) => awaitedBy(step, begun.get(step.activityId ?? '') ?? null))
}

function awaitedBy(step: Pending, begun: Date | null): string[] {
  const told = toldBy(step.heartbeatDetails?.payloads?.[0])
  if (told.length > 0) return told.map((line) => `${line} (${nameOf(step)})`)
  if (!isRepeated(step)) return []
  const since = begun ?? dateOf(step.lastAttemptCompleteTime ?? step.lastStartedTime)
  const tried =
    since === null ? '' : `, ${begun === null ? 'last' : 'since'} ${since.toISOString()}`
  return [`${nameOf(step)}: ${step.lastFailure?.message} (attempt ${step.attempt}${tried})`]
}

/** Temporal describes a step by its last attempt; when it was scheduled first stands in the history. */
async function beginnings(
  { client, namespace }: TemporalLink,
  { workflowId, runId }: WorkflowExecutionDescription,
): Promise<Map<string, Date>> {
  const { history } = await client.workflowService.getWorkflowExecutionHistoryReverse({
    ...{ namespace, execution: { workflowId, runId }, maximumPageSize: eventsAtMost },
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

function toldBy(details: Payload | null | undefined): string[] {
  if (details === null || details === undefined) return []
  const told: { awaiting?: unknown } | null = defaultPayloadConverter.fromPayload(details)
  const awaiting = told?.awaiting
  return Array.isArray(awaiting) ? awaiting.filter((line) => typeof line === 'string') : []
}
