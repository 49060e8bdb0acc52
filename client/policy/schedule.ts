import {
  ScheduleAlreadyRunning,
  ScheduleNotFoundError,
  ScheduleOverlapPolicy,
  type ScheduleDescription,
  type ScheduleHandle,
  type ScheduleOptions,
  type ScheduleSpec,
} from '@temporalio/client'
import { defineSearchAttributeKey } from '@temporalio/common'
import {
  queues,
  searchAttributes,
  workflowIds,
  workflowTypes,
  type InstallIdentity,
} from '../../contracts/names.ts'
import type { PolicyInput, PolicyRules } from '../../contracts/policy.ts'
import { isSkipped } from '../../protocol/policy-times.ts'
import type { TemporalLink } from '../temporal/connection.ts'

/**
 * The Schedule of a policy. It only starts looks, each of which reads the policy from MongoDB and begins a run if one is due:
 * an interval of 90 days at 03:00 local time, which a Schedule cannot express, and a run that the number of wraps starts.
 */

/** Temporal starts a look late by at most this, if it was down when the look was due. */
const catchUp = '6 hours'
const hourMs = 3_600_000
const dayMs = 24 * hourMs

interface Looks {
  nextAt: Date
  now: Date
  lookMs?: number | undefined
}

/** Creates the Schedule, or updates the one that is there, and resumes it. */
export async function putSchedule(
  link: TemporalLink,
  input: PolicyInput,
  rules: PolicyRules,
  looks: Looks,
): Promise<void> {
  const options = scheduleOf(input, specOf(rules, looks))
  try {
    await link.client.schedule.create(options)
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error
    const { spec, action, policies } = options
    await handleOf(link, input.install).update(({ state }) => ({
      spec,
      action,
      state,
      ...(policies === undefined ? {} : { policies }),
    }))
  }
}

export function handleOf(link: TemporalLink, install: InstallIdentity): ScheduleHandle {
  return link.client.schedule.getHandle(workflowIds.policy(install))
}

/** Null if Temporal has no such Schedule. */
export async function describeSchedule(
  link: TemporalLink,
  install: InstallIdentity,
): Promise<ScheduleDescription | null> {
  return await orNull(() => handleOf(link, install).describe())
}

/** Null if Temporal has no such Schedule. */
export async function orNull<T>(ask: () => Promise<T>): Promise<T | null> {
  try {
    return await ask()
  } catch (error) {
    if (error instanceof ScheduleNotFoundError) return null
    throw error
  }
}

/**
 * Each day at the time of day, or each period if it is not whole days. Temporal omits a time that the clocks skip; the look an
 * hour later begins the run then.
 */
function specOf(rules: PolicyRules, { nextAt, now, lookMs }: Looks): ScheduleSpec {
  const { everyMs, atMs, timeZone, jitterMs } = rules
  const jitter = jitterMs === 0 ? {} : { jitter: jitterMs }
  if (lookMs !== undefined) return { intervals: [{ every: lookMs }], ...jitter }
  if (atMs === null) {
    return { intervals: [{ every: everyMs, offset: nextAt.getTime() % everyMs }], ...jitter }
  }
  const times = isSkipped(timeZone, atMs, now) ? [atMs, (atMs + hourMs) % dayMs] : [atMs]
  const calendars = times.map((time) => ({
    hour: Math.floor(time / hourMs),
    minute: Math.floor((time % hourMs) / 60_000),
  }))
  return { calendars, timezone: timeZone, ...jitter }
}

function scheduleOf(input: PolicyInput, spec: ScheduleSpec): ScheduleOptions {
  const { install } = input
  return {
    scheduleId: workflowIds.policy(install),
    spec,
    action: {
      type: 'startWorkflow',
      workflowType: workflowTypes.policy,
      workflowId: workflowIds.policy(install),
      taskQueue: queues.control(install),
      args: [input],
      typedSearchAttributes: [
        { key: defineSearchAttributeKey(searchAttributes.install, 'KEYWORD'), value: install.name },
      ],
    },
    policies: {
      overlap: ScheduleOverlapPolicy.SKIP,
      catchupWindow: catchUp,
      pauseOnFailure: true,
    },
  }
}
