import type { RotationPause, RotationProgress } from '../../contracts/rotation.ts'
import type { RotationView } from '../../contracts/views.ts'
import { defaultProveMs, type Config } from '../../contracts/settings.ts'
import type { LastRotation, PolicyView, StatusView, WorkflowsView } from '../../contracts/views.ts'
import { hsmBudget } from '../../protocol/crypt-calls.ts'
import { versionState } from '../../protocol/version-state.ts'
import type { ActiveDoc, RotationDoc, VersionDoc } from '../../store/documents.ts'
import { remainingOf } from '../../store/census.ts'
import { readActive } from '../../store/kek-active.ts'
import { readVersions } from '../../store/kek-versions.ts'
import { readMembers, unconfirmed } from '../../store/majority.ts'
import { countQuarantine } from '../../store/rewrap-quarantine.ts'
import { lastRotation, readRotation, runningRotation } from '../../store/rotations.ts'
import { sumCounters } from '../../store/rewrap-ranges.ts'
import { serverNow } from '../../store/store.ts'
import type { Keystore } from '../keystore.ts'
import { openRequests } from '../approvals/requests.ts'
import { lostMember, takeCensus, type Census } from './census.ts'
import { usesOfAll } from './uses.ts'
import { fleetNodes } from './nodes.ts'

/** The part of the status that is read from Temporal. When it is `unreachable`, the rotation is left out. */
export interface Live {
  rotation: {
    id: string
    workflowId: string
    runId: string
    progress: RotationProgress | null
    pause: RotationPause
    /** No worker with keys is there to sweep. */
    lacksKeys: boolean
    /** What its steps wait for, and since when. */
    awaiting: string[]
  } | null
  policy: PolicyView | null
  workflows?: WorkflowsView
  unreachable: boolean
}

const startOne = 'keyturn worker --roles rewrap'

/** Versions, census, fleet and rotations of an install, in the shape of `status --json`. */
export async function statusView(
  config: Config,
  keystore: Keystore,
  live: Live,
): Promise<StatusView> {
  const { store, settings, install } = keystore
  const [rows, active, census, quarantined, fleet, last, members, unended, requests] =
    await Promise.all([
      readVersions(store),
      readActive(store),
      takeCensus(store, settings),
      countQuarantine(store),
      fleetNodes(store),
      lastRotation(store),
      readMembers(store),
      runningRotation(store),
      openRequests(keystore),
    ])
  const { unconfirmedSince } = members
  return {
    install: config.install,
    provider: install?.provider ?? null,
    active: activeView(active),
    versions: versionViews(rows, active, census),
    envelopes: { total: census.total, byVersion: census.byVersion, odd: census.odd, quarantined },
    rotation:
      live.rotation === null ? null : await rotationView(keystore, live.rotation, unconfirmedSince),
    lastRotation: lastView(last),
    uses: await usesOfAll(store, rows),
    ...(live.rotation === null && !live.unreachable ? abandonedView(unended) : {}),
    fleet,
    policy: live.policy,
    ...(requests.length === 0 ? {} : { requests }),
    hsmBudget: hsmBudget({
      fleet,
      envelopes: { rotation: census.byVersion[active?.version ?? 0] ?? 0, all: census.total },
      check: config.rewrap.check,
      proveMs: settings.fleet.proveMs ?? defaultProveMs,
    }),
    ...(live.workflows === undefined ? {} : { workflows: live.workflows }),
    ...(await lostMember(keystore)),
    ...(live.unreachable ? { temporal: 'unreachable' } : {}),
    ...(unconfirmedSince === null
      ? {}
      : { mongodb: { unconfirmedSince: unconfirmedSince.toISOString() } }),
  }
}

function activeView(active: ActiveDoc | null): StatusView['active'] {
  if (active === null) return null
  return { version: active.version, epoch: active.epoch, since: active.at.toISOString() }
}

function versionViews(
  rows: VersionDoc[],
  active: ActiveDoc | null,
  census: Census,
): StatusView['versions'] {
  const known = new Set(rows.map(({ _id }) => _id))
  const unknown = Object.entries(census.byVersion)
    .map(([version, envelopes]) => ({ version: Number(version), envelopes }))
    .filter(({ version }) => !known.has(version))
    .map((each) => ({ ...each, state: 'unknown' as const, label: '', createdAt: null }))
  const installed = rows
    .map((row) => ({
      version: row._id,
      state: versionState(row, active?.version ?? null),
      label: row.label,
      createdAt: row.created_at.toISOString(),
      envelopes: census.byVersion[row._id] ?? 0,
    }))
    .filter(({ state, envelopes }) => state !== 'installing' || envelopes > 0)
  return [...installed, ...unknown].sort((one, other) => one.version - other.version)
}

function lastView(row: RotationDoc | null): LastRotation | null {
  if (row === null || row.outcome === null || row.ended_at === null) return null
  const { _id: id, from, to, outcome } = row
  return { id, from, to, outcome, endedAt: row.ended_at.toISOString() }
}

/** A rotation whose row is unfinished and whose workflow is gone from Temporal. */
function abandonedView(row: RotationDoc | null): Pick<StatusView, 'abandoned'> {
  if (row === null) return {}
  const { _id: id, from, to, phase } = row
  return { abandoned: { id, from, to, phase, startedAt: row.started_at.toISOString() } }
}

/** Null while the rotation has neither a row nor a worker that answers a query. */
async function rotationView(
  { store, settings }: Keystore,
  running: NonNullable<Live['rotation']>,
  unconfirmedSince: Date | null,
): Promise<RotationView | null> {
  const [row, counters, now] = await Promise.all([
    readRotation(store, running.id),
    sumCounters(store, running.id),
    serverNow(store),
  ])
  const { progress } = running
  const known = progress ?? row
  if (known === null) return null
  const remaining = await remainingOf(store, settings.collections, known.from)
  const { rewrapped, superseded, quarantined } = counters
  const ratePerSecond = averageRate(rewrapped + superseded + quarantined, row, now)
  const isSwept = known.phase === 'rewrap' || known.phase === 'settle'
  const stands = running.pause.paused || running.lacksKeys || running.awaiting.length > 0
  const moves = isSwept && !stands && unconfirmedSince === null && ratePerSecond > 0
  return {
    id: running.id,
    workflowId: running.workflowId,
    runId: running.runId,
    from: known.from,
    to: known.to,
    phase: known.phase,
    paused: running.pause.paused,
    pausedBy: running.pause.pausedBy,
    pauses: running.pause.pauses,
    rewrapped,
    superseded,
    quarantined,
    remaining,
    ratePerSecond,
    etaSeconds: moves && remaining > 0 ? Math.ceil(remaining / ratePerSecond) : null,
    startedAt: progress?.startedAt ?? row?.started_at.toISOString() ?? now.toISOString(),
    awaiting: [
      // Without confirmed heartbeats workers look dead, so the missing confirmation is shown instead.
      ...(unconfirmedSince !== null
        ? [unconfirmed(unconfirmedSince).message]
        : running.lacksKeys
          ? [`a worker with keys: ${startOne}`]
          : []),
      ...running.awaiting,
      ...(progress?.pausedFor ?? []),
      // The row has it within two seconds, the workflow only after a whole round.
      ...(known.phase === 'settle' ? (row?.awaiting ?? progress?.awaiting ?? []) : []),
    ],
  }
}

/** Envelopes a second since the version was promoted. */
function averageRate(done: number, row: RotationDoc | null, now: Date): number {
  const since = row?.promoted_at ?? row?.started_at
  if (since === undefined) return 0
  const elapsed = Math.max(0.001, (now.getTime() - since.getTime()) / 1000)
  return Math.round((done / elapsed) * 10) / 10
}
