import { Context } from '@temporalio/activity'
import { KeyturnError } from '../contracts/errors.ts'
import { workflowIds } from '../contracts/names.ts'
import type { Preflight, RotateInput } from '../contracts/rotation.ts'
import type { FleetSettings } from '../contracts/settings.ts'
import { configAgreement } from '../protocol/config-agreement.ts'
import { plannedCalls } from '../protocol/crypt-calls.ts'
import { plannedSeconds } from '../protocol/rotation-plan.ts'
import { rotationRoute, routeVersions, type RotationRoute } from '../protocol/rotation-route.ts'
import { countVersions, leftOf } from '../store/census.ts'
import { requireCollections } from '../store/collections.ts'
import { fenceOn, requireNoFence } from '../store/fence.ts'
import { indexFaults } from '../store/index-faults.ts'
import { indexMissing } from '../store/indexes.ts'
import { readActive } from '../store/kek-active.ts'
import { requireInstall } from '../store/kek-install.ts'
import { readVersion, readVersions } from '../store/kek-versions.ts'
import {
  clearEndedMarks,
  endAbandoned,
  markRotation,
  takeOverMark,
} from '../store/rotation-marks.ts'
import { closeRanges } from '../store/range-takeover.ts'
import type { RotationDoc } from '../store/documents.ts'
import type { Store } from '../store/store.ts'
import { measuredRate } from '../store/measured-rate.ts'
import { insertRotation, lastRotation } from '../store/rotations.ts'
import { setPhase } from '../store/rotation-progress.ts'
import { recordedFields } from '../store/rotation-record.ts'
import type { ControlDeps } from './deps.ts'
import { readFleet } from './fleet.ts'
import { checkedRotation } from './rotation-input.ts'
import { requireIdentity, requireSettings } from './settings.ts'

/**
 * Runs all checks that may refuse a rotation before it changes anything, then marks both versions' rows by compare-and-set.
 * Rotations run one at a time under one workflow id, so a mark of another rotation is from one whose workflow is gone: the
 * mark is taken over, and that rotation ends as failed.
 */
export async function runPreflight(deps: ControlDeps, input: RotateInput): Promise<Preflight> {
  const { store } = deps
  await requireLock(deps)
  const row = await insertRotation(store, {
    ...checkedRotation(input),
    ...(await rotationWorkflow(store)),
    worker: deps.node,
  })
  if (row.ended_at !== null) {
    throw new KeyturnError('no-rotation', `rotation "${row._id}" has ended`)
  }
  const settings = await requireSettings(store)
  // The run was reset to its start: the marks exist, and ranges are being swept.
  if (row.seen !== null) return factsOf(row, row.seen, settings)
  const fleet = await readFleet(deps)
  const differing = configAgreement(fleet.heartbeats, fleet.settings)
  if (differing !== null) throw differing
  await requireIndexes(deps, settings)
  const route = await routeOfRow(store, row)
  await requireOpen(deps, settings, route.to)
  await endAbandoned(store, row, {
    code: 'rotation-failed',
    message: 'its workflow was gone when the next one began',
  })
  const epoch = (await readActive(store))?.epoch ?? 0
  for (const version of [route.from, route.to]) await mark(deps, version, row._id)
  await clearEndedMarks(store)
  await closeRanges(store, 'all')
  const { under } = await leftOf(store, settings.collections, route.from)
  const counts = await countVersions(store, settings.collections)
  const total = under + counts.odd
  const plan = await planOf(deps, input, settings, total)
  const seen = { epoch, promote: route.promote }
  const before = recordedFields(counts, settings.collections, route)
  await setPhase(store, row._id, 'preflight', { total, plan, seen, 'record.before': before })
  return factsOf({ ...row, total }, seen, settings)
}

function factsOf(
  { total, started_at, promoted_at, phase, window = null }: RotationDoc,
  seen: NonNullable<RotationDoc['seen']>,
  { fleet }: FleetSettings,
): Preflight {
  const { heartbeatMs, leaseMs } = fleet
  const isPast = promoted_at !== null || phase === 'rewrap' || phase === 'settle'
  const startedAt = started_at.toISOString()
  const hasWindow = window !== null
  return { ...seen, isPast, hasWindow, total: total ?? 0, heartbeatMs, leaseMs, startedAt }
}

/**
 * Rotations run one at a time because they share one workflow id. A workflow with another id would take over the marks of
 * the running one. Throws rotation-running.
 */
async function rotationWorkflow(store: Store): Promise<{ workflowId: string; runId: string }> {
  const { workflowId = '', runId = '' } = Context.current().info.workflowExecution ?? {}
  const own = workflowIds.rotate(await requireIdentity(store))
  if (workflowId === own) return { workflowId, runId }
  throw new KeyturnError('rotation-running', `workflow "${workflowId}" is no rotation`, {
    hint: `rotations run one at a time, as "${own}": keyturn rotate starts one`,
  })
}

/** The plan for the report, which compares it with the result. Takes no sample, which would cost crypt calls. */
async function planOf(
  { store }: ControlDeps,
  { check, maxRate }: RotateInput,
  { fleet }: FleetSettings,
  envelopes: number,
): Promise<NonNullable<RotationDoc['plan']>> {
  const rates = [measuredRate(await lastRotation(store))]
  const seconds = plannedSeconds({ envelopes, rates, maxRate, fleet })
  return {
    envelopes,
    hsm_calls: plannedCalls(check, envelopes),
    seconds,
    check,
    max_rate: maxRate,
  }
}

async function requireLock({ store, config }: ControlDeps): Promise<void> {
  const { install, kek } = config
  const row = await requireInstall(store, { name: install, provider: kek.provider })
  if (row !== null && row.provider !== null) return
  throw new KeyturnError('not-installed', `no key is installed for "${install}"`, {
    hint: 'run: keyturn pkcs11-init --version 1, or: keyturn env-init --version 1',
  })
}

async function requireIndexes({ store }: ControlDeps, settings: FleetSettings): Promise<void> {
  await requireCollections(store, settings.collections)
  const faults = await indexFaults(store, settings.collections)
  if (faults.length > 0) throw indexMissing(faults)
}

/** A leftover fence on the target would refuse every page, and all envelopes would go to quarantine. */
async function requireOpen(
  { store }: ControlDeps,
  { collections }: FleetSettings,
  version: number,
): Promise<void> {
  const row = await readVersion(store, version)
  // A pending removal is refused when the version is marked, with its own error.
  if (row?.removal !== null) return
  for (const collection of collections) await requireNoFence(store, fenceOn(collection, version))
}

/** Needs no census: both versions are given. */
async function routeOfRow(store: Store, { from, to }: RotationDoc): Promise<RotationRoute> {
  const [rows, activeRow] = await Promise.all([readVersions(store), readActive(store)])
  const active = activeRow?.version ?? null
  return rotationRoute({ versions: routeVersions(rows, active, {}), active, from, to })
}

async function mark({ store }: ControlDeps, version: number, rotation: string): Promise<void> {
  if (await markRotation(store, version, rotation)) return
  const other = (await readVersion(store, version))?.rotation
  if (other !== undefined && other !== null && other !== rotation) {
    if (await takeOverMark(store, version, other, rotation)) return
  }
  throw new KeyturnError('removal-pending', `version ${version} is being removed`, {
    hint: `keyturn remove --version ${version} --undo`,
  })
}
