import type { ScheduleDescription } from '@temporalio/client'
import type { PolicyView } from '../contracts/views.ts'

const dayMs = 86_400_000
const defaultAtMs = 3 * 3_600_000

/**
 * A policy's first run: one period after the active version became active, at the given time of day (UTC). If that is in
 * the past, it is the next such time from now.
 */
export function firstRun(options: {
  everyMs: number
  atMs: number | null
  since: Date
  now: Date
}): Date {
  const { everyMs, since, now } = options
  const wholeDays = everyMs % dayMs === 0
  const due = Math.max(since.getTime() + everyMs, now.getTime())
  if (!wholeDays && options.atMs === null) return new Date(Math.max(due, now.getTime() + everyMs))
  const atMs = options.atMs ?? defaultAtMs
  const day = Math.floor(due / dayMs) * dayMs
  return new Date(day + atMs >= due ? day + atMs : day + dayMs + atMs)
}

/** A Schedule as `policy show` and `status` present it. */
export function policyView(schedule: ScheduleDescription): PolicyView {
  const { everyMs, removeAfterMs, maxHsmCalls } = memoOf(schedule)
  const [interval] = schedule.spec.intervals ?? []
  const offset = (interval?.offset ?? 0) % dayMs
  const next = schedule.info.nextActionTimes[0]
  const last = schedule.info.recentActions.at(-1)
  return {
    everyDays: (everyMs ?? interval?.every ?? 0) / dayMs,
    at: new Date(offset).toISOString().slice(11, 16),
    removeAfterDays: removeAfterMs === null ? null : removeAfterMs / dayMs,
    maxHsmCalls: maxHsmCalls === 0 ? null : maxHsmCalls,
    paused: schedule.state.paused,
    nextRun: schedule.state.paused ? null : (next?.toISOString() ?? null),
    lastRun: last?.takenAt.toISOString() ?? null,
  }
}

function memoOf(schedule: ScheduleDescription) {
  const number = (name: string) => {
    const value = schedule.memo?.[name]
    return typeof value === 'number' ? value : null
  }
  return {
    everyMs: number('everyMs'),
    removeAfterMs: number('removeAfterMs'),
    maxHsmCalls: number('maxHsmCalls'),
  }
}
