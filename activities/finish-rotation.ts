import { isErrorCode } from '../contracts/errors.ts'
import type { ErrorReport } from '../contracts/errors.ts'
import type { RotateResult } from '../contracts/rotation.ts'
import { isLive } from '../protocol/facts.ts'
import { rotationOutcome } from '../protocol/rotation-outcome.ts'
import { silentAtEnd } from '../protocol/settle.ts'
import { observeTail, tailBegins } from '../protocol/tail.ts'
import { countVersions, remainingOf } from '../store/census.ts'
import { requireCollections } from '../store/collections.ts'
import type { RotationDoc } from '../store/documents.ts'
import { endFault } from '../store/ending.ts'
import { readActive } from '../store/kek-active.ts'
import { readSettings } from '../store/kek-settings.ts'
import { clearMarks, recordLeft } from '../store/rotation-marks.ts'
import { closeRanges } from '../store/range-takeover.ts'
import { countQuarantine, recheckQuarantine } from '../store/rewrap-quarantine.ts'
import { endRotation, readRotation, type RotationEnd } from '../store/rotations.ts'
import { setPhase } from '../store/rotation-progress.ts'
import { quarantineReasons, recordedFields } from '../store/rotation-record.ts'
import { sumCounters } from '../store/rewrap-ranges.ts'
import type { ControlDeps } from './deps.ts'
import { readFleet } from './fleet.ts'
import { requirePromoted, requireWorkflow, rotationOf } from './own-rotation.ts'
import { pause } from './pause.ts'
import { requireSettings } from './settings.ts'

export interface FinishInput {
  rotation: string
  /** Null when the sweep is done; finish checks that itself. */
  error: ErrorReport | null
}

/**
 * `ended` with its result. `tail`: envelopes are left under A. `fleet`: a process may still wrap under A, so settle must
 * watch the fleet again. `unknown`: there is no row, since the rotation was refused before it had one.
 */
export type FinishAnswer =
  | { state: 'ended'; result: RotateResult }
  | { state: 'tail'; remaining: number }
  | { state: 'fleet' }
  | { state: 'unknown' }

/**
 * Ends every rotation: closes the ranges (so that no page in flight is written later), records the outcome, clears the
 * marks, writes the audit entry. Without an error it is the end of settle: the fleet must have left A, and A is counted
 * twice, a heartbeat apart. A repeated call changes nothing and returns what was recorded.
 */
export async function finishRotation(
  deps: ControlDeps,
  { rotation, error }: FinishInput,
  signal: AbortSignal,
): Promise<FinishAnswer> {
  const { store } = deps
  const row = await rotationOf(store, rotation)
  if (row === null) return { state: 'unknown' }
  if (row.ended_at === null) {
    requireWorkflow(row)
    if (error === null) {
      const open = await whatIsLeft(deps, row, signal)
      if (open !== null) return open
    }
    const collections = (await readSettings(store))?.settings.collections ?? []
    const fault = error === null ? await endFault(store, collections, row.from) : null
    await end(deps, row, error === null ? fault : checkedReport(error))
  }
  await clearMarks(store, row._id)
  return { state: 'ended', result: await resultOf(deps, row._id) }
}

/** Null when settle is over; removal's backup window counts from then. */
async function whatIsLeft(
  deps: ControlDeps,
  row: RotationDoc,
  signal: AbortSignal,
): Promise<FinishAnswer | null> {
  const { store } = deps
  await requirePromoted(store, row._id)
  const epoch = await epochOf(deps, row)
  const { heartbeats } = await readFleet(deps)
  const isBehind = heartbeats.some((one) => isLive(one) && (one.epoch ?? 0) < epoch)
  if (row.fleet_left?.epoch !== epoch || isBehind) return { state: 'fleet' }
  const { collections, fleet } = await requireSettings(store)
  for (let tail = tailBegins; ;) {
    await requireCollections(store, collections)
    const remaining = await remainingOf(store, collections, row.from)
    if (remaining > 0) return { state: 'tail', remaining }
    const { heartbeatMs } = fleet
    const seen = observeTail(tail, { remaining, observerMs: performance.now(), heartbeatMs })
    if (seen.done) return null
    tail = seen
    await pause(heartbeatMs, signal)
  }
}

async function end(deps: ControlDeps, row: RotationDoc, error: ErrorReport | null): Promise<void> {
  const { store } = deps
  const { _id: rotation, from } = row
  await closeRanges(store, { rotation })
  for (const version of [from, null]) await recheckQuarantine(store, version)
  const counters = await sumCounters(store, rotation)
  const silent = await silentProcesses(deps, row)
  const quarantined = (await countQuarantine(store, from)) + (await countQuarantine(store, null))
  const outcome = rotationOutcome({
    phase: row.phase,
    promoted: row.promoted_at !== null,
    error: error?.code ?? null,
    quarantined,
  })
  if (error === null) {
    await recordLeft(store, from, rotation)
    await setPhase(store, rotation, 'finish')
  }
  const remaining = await remainingNow(deps, from)
  const record = await endOfRecord(deps, row)
  const end = { error, counters, silent, remaining, record, worker: deps.node }
  await endRotation(store, rotation, outcome, end)
}

async function endOfRecord(
  { store }: ControlDeps,
  row: RotationDoc,
): Promise<RotationEnd['record'] & object> {
  const collections = (await readSettings(store))?.settings.collections ?? []
  const after = recordedFields(await countVersions(store, collections), collections, row)
  return { after, quarantine: await quarantineReasons(store, row.from) }
}

/** The recorded result, and what remains now. */
async function resultOf(deps: ControlDeps, rotation: string): Promise<RotateResult> {
  const { store } = deps
  const row = await readRotation(store, rotation)
  if (row?.outcome == null || row.ended_at === null) {
    throw new Error('a rotation that has ended has no end')
  }
  const { from, to, outcome, silent, error } = row
  return {
    rotation,
    from,
    to,
    outcome,
    silent,
    error,
    ...(await sumCounters(store, rotation)),
    remaining: await remainingNow(deps, from),
    durationSeconds: (row.ended_at.getTime() - row.started_at.getTime()) / 1000,
  }
}

/** Before setup there is nothing to count. */
async function remainingNow({ store }: ControlDeps, from: number): Promise<number> {
  const settings = await readSettings(store)
  return settings === null ? 0 : await remainingOf(store, settings.settings.collections, from)
}

async function epochOf({ store }: ControlDeps, row: RotationDoc): Promise<number> {
  return row.epoch ?? (await readActive(store))?.epoch ?? 0
}

/** After a long sweep, settle's list of silent processes may be old: processes that have come back since are left out. */
async function silentProcesses(deps: ControlDeps, row: RotationDoc): Promise<string[]> {
  if (row.fleet_left === null) return []
  const { roster, heartbeats } = await readFleet(deps)
  return silentAtEnd(row.fleet_left.silent, roster, heartbeats, await epochOf(deps, row))
}

/** A workflow's error report, limited to what a row may hold. */
function checkedReport({ code, message, hint }: ErrorReport): ErrorReport {
  const line = (text: unknown) => (typeof text === 'string' ? text : '').slice(0, 1_000)
  return {
    code: isErrorCode(code) ? code : 'internal',
    message: line(message),
    ...(hint === undefined ? {} : { hint: line(hint) }),
  }
}
