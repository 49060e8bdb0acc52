import type { DailyWindow, PolicyRules } from '../contracts/policy.ts'
import { atTimeOfDay, timeOfDay } from './local-time.ts'

/** When a policy's runs are due, and its daily window. */

const dayMs = 86_400_000
const defaultAtMs = 3 * 3_600_000
/** MongoDB's clock, by which a run is due, may be this much behind that of Temporal, which starts it. */
const clocksDifferMs = 300_000

type Dates = Pick<PolicyRules, 'everyMs' | 'atMs' | 'timeZone'>

export const isWholeDays = (everyMs: number) => everyMs % dayMs === 0

/** The time of day of a policy that names none: 03:00, or the beginning of its window. */
export function defaultAt({ everyMs, window }: Pick<PolicyRules, 'everyMs' | 'window'>) {
  if (!isWholeDays(everyMs)) return null
  return window === null || isWithin(window, defaultAtMs) ? defaultAtMs : window.fromMs
}

/**
 * The first run: one period after the active version became active, at the time of day. If that is in the past, it is the
 * next such time from now.
 */
export function firstRun(rules: Dates, { since, now }: { since: Date; now: Date }): Date {
  const { everyMs, atMs, timeZone } = rules
  if (atMs === null) {
    return new Date(Math.max(since.getTime() + everyMs, now.getTime() + everyMs))
  }
  const due = new Date(Math.max(since.getTime() + everyMs, now.getTime()))
  const at = atTimeOfDay(due, timeZone, atMs)
  return at >= due ? at : atTimeOfDay(due, timeZone, atMs, 1)
}

/** One period after a run. */
export function runAfter({ everyMs, atMs, timeZone }: Dates, run: Date): Date {
  if (atMs === null) return new Date(run.getTime() + everyMs)
  return atTimeOfDay(run, timeZone, atMs, everyMs / dayMs)
}

/** Whether the run that is planned for `next` is due. */
export function isDue({ everyMs }: Dates, next: Date, now: Date): boolean {
  return now.getTime() >= next.getTime() - Math.min(clocksDifferMs, everyMs / 10)
}

/** The planned run after the one that is due. Runs that were missed are not made up for. */
export function nextPlanned(rules: Dates, next: Date, now: Date): Date {
  let planned = next
  do planned = runAfter(rules, planned)
  while (isDue(rules, planned, now))
  return planned
}

/** The next `count` runs. */
export function plannedRuns(rules: Dates, next: Date, count: number): Date[] {
  const runs = [next]
  for (let run = next; runs.length < count; runs.push(run)) run = runAfter(rules, run)
  return runs
}

/** Whether a time of day, and as much after it as `lengthMs`, is in the window. */
export function isWithin(window: DailyWindow, ofDayMs: number, lengthMs = 0): boolean {
  const fromStart = (ofDayMs - window.fromMs + dayMs) % dayMs
  return fromStart + lengthMs <= lengthOf(window) && fromStart < lengthOf(window)
}

/** An open window and when it closes, or a closed one and when it opens. */
export interface WindowState {
  isOpen: boolean
  until: Date
}

export function windowState(window: DailyWindow, timeZone: string, now: Date): WindowState {
  const endsNextDay = window.toMs <= window.fromMs ? 1 : 0
  const days = [-1, 0, 1, 2].map((day) => ({
    from: atTimeOfDay(now, timeZone, window.fromMs, day),
    to: atTimeOfDay(now, timeZone, window.toMs, day + endsNextDay),
  }))
  const open = days.find(({ from, to }) => from <= now && now < to)
  if (open !== undefined) return { isOpen: true, until: open.to }
  const next = days.find(({ from, to }) => from > now && from < to)
  return { isOpen: false, until: next?.from ?? new Date(now.getTime() + dayMs) }
}

/** Whether clocks of the zone skip this time of day on some day of the coming year. */
export function isSkipped(timeZone: string, atMs: number, now: Date): boolean {
  return Array.from({ length: 366 }, (_, day) => atTimeOfDay(now, timeZone, atMs, day)).some(
    (run) => timeOfDay(run, timeZone) !== atMs,
  )
}

const lengthOf = ({ fromMs, toMs }: DailyWindow) => (toMs - fromMs + dayMs) % dayMs || dayMs
