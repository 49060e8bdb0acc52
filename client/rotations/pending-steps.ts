import type { WorkflowExecutionDescription } from '@temporalio/client'
import { defaultPayloadConverter, type Payload } from '@temporalio/common'
import type { TemporalLink } from './connection.ts'
import { describe } from './running.ts'

/** Shards whose steps are looked at; the others wait for the same. */
const childrenAtMost = 4

type Pending = NonNullable<
  NonNullable<WorkflowExecutionDescription['raw']['pendingActivities']>[number]
>

/**
 * What the steps of a workflow and of its children wait for, a line each: what MongoDB has not answered, as a step that runs
 * tells, and why one that is repeated has failed. Empty while all goes on.
 */
export async function awaitedSteps(link: TemporalLink, workflowId: string): Promise<string[]> {
  const described = await describe(link, workflowId)
  if (described === null) return []
  const { pendingActivities, pendingChildren } = described.raw
  const children = (pendingChildren ?? []).slice(0, childrenAtMost)
  const own = (pendingActivities ?? []).flatMap(awaitedBy)
  const theirs = await Promise.all(
    children.map(async (child) => {
      const shard = child.workflowId ? await describe(link, child.workflowId) : null
      return (shard?.raw.pendingActivities ?? []).flatMap(awaitedBy)
    }),
  )
  return [...new Set([...own, ...theirs.flat()])]
}

/** `watchFleet` tells of the fleet, which the rotation's row has newer. */
function awaitedBy(step: Pending): string[] {
  const name = step.activityType?.name ?? 'a step'
  if (name === 'watchFleet') return []
  const told = toldBy(step.heartbeatDetails?.payloads?.[0])
  if (told.length > 0) return told.map((line) => `${line} (${name})`)
  const failure = step.lastFailure?.message
  if (failure === null || failure === undefined || (step.attempt ?? 1) < 2) return []
  const at = step.lastAttemptCompleteTime ?? step.lastStartedTime
  const since = at?.seconds ? `, last ${new Date(Number(at.seconds) * 1000).toISOString()}` : ''
  return [`${name}: ${failure} (attempt ${step.attempt ?? 1}${since})`]
}

function toldBy(details: Payload | null | undefined): string[] {
  if (details === null || details === undefined) return []
  const told: { awaiting?: unknown } | null = defaultPayloadConverter.fromPayload(details)
  const awaiting = told?.awaiting
  return Array.isArray(awaiting) ? awaiting.filter((line) => typeof line === 'string') : []
}
