import { randomUUID } from 'node:crypto'
import { Context } from '@temporalio/activity'
import { KeyturnError, type ErrorReport } from '../contracts/errors.ts'
import type { InstallInput } from '../contracts/install.ts'
import type { PolicyStep } from '../contracts/policy.ts'
import type { RotateInput, SweepWindow } from '../contracts/rotation.ts'
import { leftVersions, unusedVersion, versionToMake } from '../protocol/policy-route.ts'
import { leftOf } from '../store/census.ts'
import type { PolicyDoc, PolicyRunDoc } from '../store/policy-document.ts'
import { readActive } from '../store/kek-active.ts'
import { readPolicy, rulesOf } from '../store/kek-policy.ts'
import { insertTask } from '../store/kek-tasks.ts'
import { readVersions } from '../store/kek-versions.ts'
import { recordRunRotations, recordWait } from '../store/policy-runs.ts'
import { readRotation, runningRotation } from '../store/rotations.ts'
import { serverNow } from '../store/store.ts'
import type { ControlDeps } from './deps.ts'
import { requireIdentity, requireSettings } from './settings.ts'

const actor = 'policy'

/** Pauses between two looks for an unused version: a quarter of the time that was waited so far. */
const shortestWaitMs = 2_000
const longestWaitMs = 600_000

/** A run that has not ended, and its policy. */
interface OpenRun {
  row: PolicyDoc
  run: PolicyRunDoc
}

/**
 * The run of the workflow that calls this step: no other may act for it. Null when it has ended, or its policy was deleted.
 */
export async function openRun({ store }: ControlDeps): Promise<OpenRun | null> {
  const row = await readPolicy(store)
  const run = row?.run ?? null
  return row !== null && run !== null && run.id === ownRunId() ? { row, run } : null
}

/** Of the workflow that calls this step; a run of the policy has its id. */
export function ownRunId(): string {
  return Context.current().info.workflowExecution?.runId ?? ''
}

/**
 * The next step of a run: first each older version with envelopes is left, the oldest first. Then the fleet rotates to an
 * installed version that was never active, and only if there is none to a new one. The policy's row says what was done.
 */
export async function nextStep(deps: ControlDeps): Promise<PolicyStep> {
  const { store } = deps
  const open = await openRun(deps)
  if (open === null) return { state: 'done' }
  const begun = await begunRotations(deps, open.run)
  const unended = await runningRotation(store)
  if (unended !== null) return { state: 'met', rotation: unended._id }
  if (begun.at(-1)?.main === true) return { state: 'done' }
  const active = await readActive(store)
  if (active === null) throw new KeyturnError('not-installed', 'no key is installed')
  const rows = await readVersions(store)
  const done = new Set(begun.map(({ from }) => from))
  for (const from of leftVersions(rows, active.version)) {
    if (done.has(from) || !(await hasEnvelopes(deps, from))) continue
    return await rotation(deps, open, begun, { from, to: active.version, main: false })
  }
  const main = { from: active.version, main: true }
  const unused = unusedVersion(rows, active.version)
  if (unused !== null) return await rotation(deps, open, begun, { ...main, to: unused })
  const { provider } = deps.config.kek
  const origin = provider === 'env' ? 'environment' : 'generated'
  const to = versionToMake(rows, origin)
  if (!open.row.provision) return { state: 'waits', waitMs: await wait(deps, open, lacking(to)) }
  const install: InstallInput = {
    install: await requireIdentity(store),
    task: await insertTask(store, { kind: 'install', by: actor }),
    version: to,
    provider,
    origin,
    label: null,
    requestedBy: actor,
  }
  return { ...(await rotation(deps, open, begun, { ...main, to })), install }
}

/** Waits for the material of an `env` version, which `error` names. Throws that error at the end of the run's time. */
export async function waitForMaterial(
  deps: ControlDeps,
  { message, hint }: ErrorReport,
): Promise<PolicyStep> {
  const open = await openRun(deps)
  if (open === null) return { state: 'done' }
  const known = new KeyturnError('material-missing', message, hint === undefined ? {} : { hint })
  return { state: 'waits', waitMs: await wait(deps, open, known) }
}

/** The pause until the next look. Throws `why` when the run may not wait any more. */
async function wait({ store }: ControlDeps, { run }: OpenRun, why: KeyturnError): Promise<number> {
  const now = await serverNow(store)
  const leftMs = run.until.getTime() - now.getTime()
  if (leftMs <= 0) throw why
  await recordWait(store, run.id, `${why.message} (until ${run.until.toISOString()})`)
  const waitedMs = now.getTime() - run.at.getTime()
  return Math.min(leftMs, longestWaitMs, Math.max(shortestWaitMs, waitedMs / 4))
}

function lacking(version: number): KeyturnError {
  return new KeyturnError(
    'version-unknown',
    `no unused version is installed, and the policy makes none`,
    {
      hint: `install version ${version}, then run: keyturn policy resume, keyturn policy run`,
    },
  )
}

/** The rotations of a run that began: the last one is recorded before it is started. */
async function begunRotations({ store }: ControlDeps, { rotations }: PolicyRunDoc) {
  const rows = await Promise.all(rotations.map(({ id }) => readRotation(store, id)))
  return rotations.filter((_, index) => rows[index] !== null)
}

async function hasEnvelopes({ store }: ControlDeps, version: number): Promise<boolean> {
  const { collections } = await requireSettings(store)
  return (await leftOf(store, collections, version)).under > 0
}

async function rotation(
  { store, config }: ControlDeps,
  open: OpenRun,
  begun: PolicyRunDoc['rotations'],
  route: { from: number; to: number; main: boolean },
): Promise<PolicyStep & { state: 'rotate' }> {
  const { row, run } = open
  const { page, shards, check, maxRate } = config.rewrap
  const { from, to } = route
  const rotate: RotateInput = {
    task: await insertTask(store, { kind: 'rotate', by: actor }),
    install: await requireIdentity(store),
    from,
    to,
    rotation: `r-${randomUUID()}`,
    requestedBy: actor,
    page,
    shards,
    check,
    reason: route.main ? run.reason : `${run.reason}; v${from} still had envelopes`,
    maxRate: row.max_rate ?? maxRate,
    maxHsmCalls: row.max_hsm_calls,
    priority: row.priority,
    window: windowOf(open),
  }
  const planned = { id: rotate.rotation, ...route, check }
  await recordRunRotations(store, run.id, [...begun, planned])
  return { state: 'rotate', install: null, rotate }
}

/** Rotations of `policy run --now` sweep at any time. */
function windowOf({ row, run }: OpenRun): SweepWindow | null {
  const { window, timeZone } = rulesOf(row)
  return window === null || run.outside ? null : { ...window, timeZone }
}
