import { isErrorCode, type ErrorReport } from '../contracts/errors.ts'
import type {
  PolicyLook,
  PolicyRunEnd,
  PolicyStep,
  RunCause,
  RunOutcome,
} from '../contracts/policy.ts'
import { isDue, nextPlanned, windowState } from '../protocol/policy-times.ts'
import type { PolicyDoc, PolicyRunDoc } from '../store/policy-document.ts'
import { readActive } from '../store/kek-active.ts'
import { readPolicy, rulesOf } from '../store/kek-policy.ts'
import { readVersion } from '../store/kek-versions.ts'
import { beginRun, dropAsked, endRun } from '../store/policy-runs.ts'
import { readRotation } from '../store/rotations.ts'
import { serverNow } from '../store/store.ts'
import type { ControlDeps } from './deps.ts'
import { heartbeating } from './heartbeating.ts'
import { planRemovals, triedAgain } from './policy-removals.ts'
import { nextStep, openRun, ownRunId, waitForMaterial } from './policy-step.ts'

/** How long a run may wait for an unused version if its policy has no window, in milliseconds. */
const longestWaitMs = 86_400_000

/** A request to run that no look took within this time is dropped, in milliseconds. */
const askedForMs = 3_600_000

/**
 * The steps of `scheduledRotation`. Its Schedule starts it for a look, each day; the policy's row says whether a run is due.
 * Anyone with access to the Temporal namespace can call them: each takes ids only, and decides from MongoDB.
 */
export function policyActivities(deps: ControlDeps) {
  return {
    /** Begins a run if one is due, and tries refused removals again. A repeated step returns the run that it began. */
    lookAtPolicy: async ({ task }: { task: string }): Promise<PolicyLook> =>
      await heartbeating(async () => await look(deps, task)),

    nextPolicyStep: (async () => await heartbeating(async () => await nextStep(deps))) as (
      input: object,
    ) => Promise<PolicyStep>,

    awaitMaterial: async ({ error }: { error: ErrorReport }): Promise<PolicyStep> =>
      await waitForMaterial(deps, checkedReport(error)),

    /** Records the outcome, plans removals, and pauses the policy after a failure. */
    endPolicyRun: async (input: EndInput): Promise<PolicyRunEnd> => await end(deps, input),
  }
}

export interface EndInput {
  /** Null when all its rotations have completed, or it was skipped. */
  error: ErrorReport | null
  /** The rotation of somebody else that it met; null if it met none. */
  met: string | null
}

async function look(deps: ControlDeps, task: string): Promise<PolicyLook> {
  const { store } = deps
  const idle = { begun: false, removals: [] }
  const row = await readPolicy(store)
  // Deleted, or replaced.
  if (row === null || row.task !== task) return idle
  const id = ownRunId()
  if (row.run?.id === id) return { begun: true, removals: [] }
  if (row.run !== null) {
    await endLost(deps, row.run)
    return idle
  }
  if (row.paused !== null) return idle
  const removals = await triedAgain(deps, row)
  const now = await serverNow(store)
  const due = await dueRun(deps, row, now)
  if (due === null) {
    if (row.asked !== null) await dropAsked(store, task)
    return { begun: false, removals }
  }
  const outside = due.cause === 'command' && row.asked?.now === true
  const run = { id, worker: deps.node, at: now, outside, until: waitsUntil(row, now), ...due }
  const rules = rulesOf(row)
  const isPlanned = isDue(rules, row.next_at, now)
  const nextAt = isPlanned ? nextPlanned(rules, row.next_at, now) : row.next_at
  const earlyAt = isPlanned ? null : due.cause === 'wraps' ? now : row.early_at
  return { begun: await beginRun(store, row, run, { nextAt, earlyAt }), removals }
}

/** Why a run begins now; null if none is due, or the window is closed. */
async function dueRun(
  deps: ControlDeps,
  row: PolicyDoc,
  now: Date,
): Promise<{ cause: RunCause; reason: string } | null> {
  const { asked, window, time_zone: zone, max_wraps: maxWraps, early_at: earlyAt } = row
  const isOpen = window === null || windowState(rulesWindow(window), zone, now).isOpen
  const isAsked = asked !== null && now.getTime() - asked.at.getTime() < askedForMs
  if (isAsked && (isOpen || asked.now)) {
    return { cause: 'command', reason: `keyturn policy run by ${asked.by}` }
  }
  if (!isOpen) return null
  if (isDue(rulesOf(row), row.next_at, now)) return { cause: 'date', reason: 'scheduled' }
  if (maxWraps === null || earlyAt !== null) return null
  const { version, wraps } = await activeWraps(deps)
  if (wraps < maxWraps) return null
  const reason = `scheduled early: ${wraps} wraps under v${version}, at most ${maxWraps} are allowed`
  return { cause: 'wraps', reason }
}

async function activeWraps({ store }: ControlDeps): Promise<{ version: number; wraps: number }> {
  const version = (await readActive(store))?.version ?? 0
  return { version, wraps: (await readVersion(store, version))?.wraps ?? 0 }
}

/** The end of the window, or a day. */
function waitsUntil({ window, time_zone: zone }: PolicyDoc, now: Date): Date {
  const state = window === null ? null : windowState(rulesWindow(window), zone, now)
  return state?.isOpen === true ? state.until : new Date(now.getTime() + longestWaitMs)
}

const rulesWindow = ({ from_ms, to_ms }: NonNullable<PolicyDoc['window']>) => ({
  fromMs: from_ms,
  toMs: to_ms,
})

async function end(deps: ControlDeps, { error, met }: EndInput): Promise<PolicyRunEnd> {
  const open = await openRun(deps)
  if (open === null) {
    const row = await readPolicy(deps.store)
    const ended = row?.runs.find(({ id }) => id === ownRunId()) ?? null
    const removals = row === null || ended === null ? [] : await planRemovals(deps, row, ended)
    return { outcome: ended?.outcome ?? 'skipped', error: reportOf(ended?.error ?? null), removals }
  }
  const removals = await planRemovals(deps, open.row, open.run)
  const report = error === null ? null : checkedReport(error)
  const outcome = met === null ? await outcomeOf(deps, open.run, report) : 'skipped'
  await conclude(deps, open.run, outcome, outcome === 'skipped' ? null : report)
  return { outcome, error: report, removals }
}

async function outcomeOf(
  { store }: ControlDeps,
  { rotations }: PolicyRunDoc,
  error: ErrorReport | null,
): Promise<RunOutcome> {
  const last = rotations.at(-1)
  const outcome =
    last === undefined ? null : ((await readRotation(store, last.id))?.outcome ?? null)
  if (error === null) return outcome ?? 'skipped'
  return outcome === null || outcome.startsWith('completed') ? 'failed' : outcome
}

/** Ends a run whose workflow was ended from outside. */
async function endLost(deps: ControlDeps, run: PolicyRunDoc): Promise<void> {
  await conclude(deps, run, 'failed', {
    code: 'temporal-refused',
    message: 'its workflow was ended from outside',
    hint: 'the Temporal UI shows who did it; keyturn policy resume goes on',
  })
}

async function conclude(
  { store, log, node }: ControlDeps,
  run: PolicyRunDoc,
  outcome: RunOutcome,
  error: ErrorReport | null,
): Promise<void> {
  const began = run.at.toISOString()
  const pause =
    error === null
      ? null
      : `the run of ${began} ended as ${outcome}: ${error.code}: ${error.message}`
  if (!(await endRun(store, run, { outcome, error, pause, worker: node }))) return
  if (pause === null) log.info({ run: run.id, outcome }, 'a run of the policy has ended')
  else
    log.error(
      { run: run.id, outcome, code: error?.code, hint: error?.hint },
      `the policy is paused: ${pause}`,
    )
}

function reportOf(error: PolicyRunDoc['error']): ErrorReport | null {
  return error === null ? null : checkedReport(error)
}

/** A workflow's error report, limited to what a row may hold. */
function checkedReport({
  code,
  message,
  hint,
}: {
  code: string
  message: string
  hint?: string
}): ErrorReport {
  const line = (text: unknown) => (typeof text === 'string' ? text : '').slice(0, 1_000)
  return {
    code: isErrorCode(code) ? code : 'internal',
    message: line(message),
    ...(hint === undefined ? {} : { hint: line(hint) }),
  }
}
