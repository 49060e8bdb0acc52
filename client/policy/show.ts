import type { ScheduleDescription } from '@temporalio/client'
import { KeyturnError } from '../../contracts/errors.ts'
import type { InstallIdentity } from '../../contracts/names.ts'
import type { Config } from '../../contracts/settings.ts'
import type { PlannedRemovalView, PolicyView, PolicyRunView } from '../../contracts/views.ts'
import { inZone } from '../../protocol/local-time.ts'
import { plannedRuns } from '../../protocol/policy-times.ts'
import type { PolicyDoc, PolicyRunDoc } from '../../store/policy-document.ts'
import { readActive } from '../../store/kek-active.ts'
import { readPolicy, rulesOf } from '../../store/kek-policy.ts'
import { readVersion } from '../../store/kek-versions.ts'
import { readRemoval } from '../../store/removal-requests.ts'
import type { Store } from '../../store/store.ts'
import { requireSetUp, withKeystore, type Keystore } from '../keystore.ts'
import { withTemporal, type TemporalLink } from '../temporal/connection.ts'
import { describeSchedule } from './schedule.ts'

const dayMs = 86_400_000
const shownRuns = 5

/** The policy. Throws policy-missing. */
export async function showPolicy(config: Config): Promise<PolicyView> {
  return withKeystore(config, async (keystore) => {
    const install = requireSetUp(keystore, config)
    return withTemporal(config, (link) => showWith(link, keystore, install))
  })
}

/** Throws policy-missing. */
export async function showWith(
  link: TemporalLink,
  { store }: Keystore,
  install: InstallIdentity,
): Promise<PolicyView> {
  const view = await policyView(store, await describeSchedule(link, install))
  if (view === null) throw noPolicy()
  return view
}

export function noPolicy(): KeyturnError {
  return new KeyturnError('policy-missing', 'no policy is set', {
    hint: 'set one: keyturn policy set --every 90d',
  })
}

/**
 * The policy as `policy show` and `status` present it; null if none is set. `schedule`: null if it is gone from Temporal,
 * undefined if that is not known.
 */
export async function policyView(
  store: Store,
  schedule: ScheduleDescription | null | undefined,
): Promise<PolicyView | null> {
  const row = await readPolicy(store)
  if (row === null) return null
  const rules = rulesOf(row)
  const pausedReason = reasonOf(row, schedule)
  const runs = plannedRuns(rules, row.next_at, shownRuns)
  const nextRuns = pausedReason === null ? runs.map((run) => run.toISOString()) : []
  const local = nextRuns.map((run) => inZone(new Date(run), rules.timeZone))
  const ended = row.runs.map(runView).reverse()
  return {
    everyDays: rules.everyMs / dayMs,
    at: rules.atMs === null ? null : timeText(rules.atMs),
    timeZone: rules.timeZone,
    jitterSeconds: rules.jitterMs / 1000,
    window: rules.window && `${timeText(rules.window.fromMs)}-${timeText(rules.window.toMs)}`,
    maxWraps: rules.maxWraps,
    maxRate: rules.maxRate,
    maxHsmCalls: rules.maxHsmCalls === 0 ? null : rules.maxHsmCalls,
    priority: rules.priority,
    removeAfterDays: rules.removeAfterMs === null ? null : rules.removeAfterMs / dayMs,
    provision: rules.provision,
    paused: pausedReason !== null,
    pausedReason,
    nextRun: nextRuns[0] ?? null,
    nextRuns,
    nextRunsLocal: local,
    run: row.run && { ...runView(row.run), waitsFor: row.run.waits_for },
    lastRun: ended[0] ?? null,
    lastRuns: ended,
    plannedRemovals: await removalViews(store, row),
    wraps: { active: await activeWraps(store), bound: rules.maxWraps },
  }
}

/** Why it begins no run; null when it does. */
function reasonOf(
  { paused }: PolicyDoc,
  schedule: ScheduleDescription | null | undefined,
): string | null {
  if (paused !== null) return paused.reason
  if (schedule === null)
    return 'its schedule is gone from temporal: keyturn policy set sets it again'
  if (schedule?.state.paused !== true) return null
  return `paused in temporal: ${schedule.state.note ?? 'without a note'}`
}

function runView({ at, cause, reason, rotations, outcome, error }: PolicyRunDoc): PolicyRunView {
  const rotation = rotations.at(-1)?.id ?? null
  return { at: at.toISOString(), cause, reason, rotation, outcome, error }
}

/** Those that are not done. One that a person has undone is not planned any more. */
async function removalViews(store: Store, { removals }: PolicyDoc): Promise<PlannedRemovalView[]> {
  const views = await Promise.all(
    removals.map(async ({ version, request, at, reason }) => {
      const state = (await readRemoval(store, request))?.state ?? 'withdrawn'
      if (state === 'withdrawn' || state === 'destroyed') return null
      return {
        version,
        at: at.toISOString(),
        reason: reason ?? (state === 'refused' ? 'refused; it is tried again each day' : null),
      }
    }),
  )
  return views.filter((view) => view !== null)
}

async function activeWraps(store: Store): Promise<number> {
  const active = await readActive(store)
  return active === null ? 0 : ((await readVersion(store, active.version))?.wraps ?? 0)
}

/** `03:00` */
function timeText(ofDayMs: number): string {
  return new Date(ofDayMs % dayMs).toISOString().slice(11, 16)
}
