import type { PolicyRunView, PolicyView } from '../../contracts/views.ts'
import type { Answer } from '../answer.ts'
import { count } from './figures.ts'
import { table } from './tables.ts'

export function policyAnswer(policy: PolicyView): Answer {
  return { json: { policy }, text: policyText(policy) }
}

function policyText(policy: PolicyView): string {
  const { nextRuns, nextRunsLocal, lastRuns, timeZone } = policy
  const times = nextRuns.map((run, index) => [run, nextRunsLocal[index] ?? ''])
  const parts = [
    [`rotation ${rhythm(policy)}`, ...limits(policy)].join('\n'),
    policyState(policy).join('\n'),
    times.length === 0 ? null : table(['next runs, UTC', timeZone], times),
    lastRuns.length === 0
      ? 'no run yet'
      : table(['last runs', 'outcome', 'rotation', 'why'], lastRuns.map(runRow)),
  ]
  return parts.filter((part) => part !== null).join('\n\n')
}

/** `every 90 days at 03:00 Europe/Berlin` */
export function rhythm({ everyDays, at, timeZone, jitterSeconds, window }: PolicyView): string {
  const period = everyDays === 1 ? 'every day' : `every ${Number(everyDays.toFixed(4))} days`
  return [
    period,
    ...(at === null ? [] : [` at ${at} ${timeZone}`]),
    ...(jitterSeconds === 0 ? [] : [`, up to ${count(jitterSeconds)} s later`]),
    ...(window === null ? [] : [`, within ${window} ${timeZone}`]),
  ].join('')
}

function limits(policy: PolicyView): string[] {
  const { wraps, maxRate, maxHsmCalls, priority, provision, removeAfterDays } = policy
  return [
    ...(wraps.bound === null
      ? []
      : [`early after ${count(wraps.bound)} wraps under a version; now ${count(wraps.active)}`]),
    ...(maxRate === null ? [] : [`at most ${count(maxRate)} envelopes a second (0: no limit)`]),
    ...(maxHsmCalls === null ? [] : [`each may spend ${count(maxHsmCalls)} crypt calls`]),
    ...(priority === 'applications' ? ['applications have priority'] : []),
    ...(provision ? [] : ['it waits for versions that a person installs']),
    removeAfterDays === null
      ? 'the old version stays'
      : `the removal of the old version is requested after ${removeAfterDays} days`,
  ]
}

/** Whether it is paused, what runs, what comes next, and planned removals: a line each. */
export function policyState(policy: PolicyView): string[] {
  const { paused, pausedReason, nextRun, run, lastRun, plannedRemovals } = policy
  return [
    paused ? `paused: ${pausedReason ?? 'unknown'}` : `next run ${nextRun ?? 'unknown'}`,
    ...(run === null ? [] : [`a run began ${run.at} (${run.reason})`]),
    ...(run?.waitsFor == null ? [] : [`it waits: ${run.waitsFor}`]),
    ...(lastRun === null ? [] : [`last run ${lastRun.at}: ${lastRun.outcome ?? 'unknown'}`]),
    ...plannedRemovals.map(
      ({ version, at, reason }) =>
        `removal of v${version} planned for ${at}${reason === null ? '' : `, refused: ${reason}`}`,
    ),
  ]
}

function runRow({ at, outcome, rotation, reason, error }: PolicyRunView): (string | null)[] {
  const why = error === null ? reason : `${error.code}: ${error.message}`
  return [at, outcome, rotation, why]
}
