import { readGuards } from '../../activities/removal-guards.ts'
import { clipped } from '../../contracts/clipped.ts'
import { mostListed } from '../../contracts/overview.ts'
import type { Overview } from '../../contracts/overview.ts'
import type { FleetSettings } from '../../contracts/settings.ts'
import type { GuardName } from '../../contracts/views.ts'
import { heartbeatFact, rosterFact } from '../../protocol/facts.ts'
import { processStates } from '../../protocol/process-states.ts'
import type { ProcessFact } from '../../protocol/process-states.ts'
import { versionState } from '../../protocol/version-state.ts'
import { listRequests } from '../../store/approval-requests.ts'
import { countVersions } from '../../store/census.ts'
import type { VersionCounts } from '../../store/census.ts'
import type { ActiveDoc, RotationDoc, VersionDoc } from '../../store/documents.ts'
import { readRoster } from '../../store/fleet-nodes.ts'
import { readActive } from '../../store/kek-active.ts'
import { readVersions } from '../../store/kek-versions.ts'
import { readHeartbeats } from '../../store/process-heartbeats.ts'
import { readRemoval } from '../../store/removal-requests.ts'
import { sumCounters } from '../../store/rewrap-ranges.ts'
import { countQuarantine } from '../../store/rewrap-quarantine.ts'
import { lastCompletedRotation, lastRotation, runningRotation } from '../../store/rotations.ts'
import { serverNow } from '../../store/store.ts'
import type { Store } from '../../store/store.ts'

/** Longest name in an overview, in characters. */
const longestName = 200

/** Counts all envelopes, and reads the fleet and the rotations. Reads only. */
export async function takeOverview(store: Store, settings: FleetSettings): Promise<Overview> {
  const [rows, active, counts, quarantined, requests, running, last, lastCompleted, processes] =
    await Promise.all([
      readVersions(store),
      readActive(store),
      countVersions(store, settings.collections),
      countQuarantine(store),
      listRequests(store, { onlyOpen: true }),
      runningRotation(store),
      lastRotation(store),
      lastCompletedRotation(store),
      readProcesses(store),
    ])
  return {
    active: activeOf(active),
    versions: versionsOf(rows, active, counts, await failingGuards(store, rows)),
    census: byCollection(counts.byField.map(({ version, ...place }) => ({ ...place, version }))),
    odd: byCollection(counts.oddByField.map((each) => ({ ...each, version: 0 }))).map(
      ({ collection, envelopes }) => ({ collection, envelopes }),
    ),
    quarantined,
    requestsOpen: requests.length,
    rotation: running === null ? null : await rotationOf(store, running),
    lastRotation: lastOf(last),
    lastCompletedAt: lastCompleted?.ended_at?.toISOString() ?? null,
    fleet: countStates(processes),
    processes: processes
      .slice(0, mostListed)
      .map((each) => ({ ...each, node: clipped(each.node, longestName) })),
  }
}

function activeOf(active: ActiveDoc | null): Overview['active'] {
  if (active === null) return null
  return { version: active.version, epoch: active.epoch, since: active.at.toISOString() }
}

function versionsOf(
  rows: readonly VersionDoc[],
  active: ActiveDoc | null,
  { byVersion }: VersionCounts,
  failing: ReadonlyMap<number, GuardName[]>,
): Overview['versions'] {
  const installed = rows.map((row) => ({
    version: row._id,
    state: versionState(row, active?.version ?? null),
    envelopes: byVersion[row._id] ?? 0,
    wraps: row.wraps,
    activatedAt: row.activated_at?.toISOString() ?? null,
    removalDueAt: isPending(row) ? (row.removal?.due_at.toISOString() ?? null) : null,
    failingGuards: failing.get(row._id) ?? [],
  }))
  const known = new Set(rows.map(({ _id }) => _id))
  const unknown = Object.entries(byVersion)
    .map(([version, envelopes]) => ({ version: Number(version), envelopes }))
    .filter(({ version }) => !known.has(version))
    .map((each) => ({
      ...each,
      state: 'unknown' as const,
      wraps: null,
      activatedAt: null,
      removalDueAt: null,
      failingGuards: [],
    }))
  const all = [...installed, ...unknown].sort((one, other) => other.version - one.version)
  return all.slice(0, mostListed)
}

function isPending({ removal, destroyed_at }: VersionDoc): boolean {
  return removal !== null && destroyed_at === null
}

async function failingGuards(
  store: Store,
  rows: readonly VersionDoc[],
): Promise<Map<number, GuardName[]>> {
  const failing = new Map<number, GuardName[]>()
  for (const row of rows.filter(isPending)) {
    const request = await readRemoval(store, row.removal?.request ?? '')
    if (request === null) continue
    const fenced = row.removal?.fenced_at !== null
    const guards = await readGuards(store, request, { fenced, ownNow: () => new Date() })
    failing.set(
      row._id,
      guards.filter(({ ok }) => !ok).map(({ guard }) => guard),
    )
  }
  return failing
}

/** Sums the fields of each collection; the collections with the most envelopes come first. */
function byCollection(
  counts: readonly { collection: string; version: number; envelopes: number }[],
): Overview['census'] {
  const sums = new Map<string, { collection: string; version: number; envelopes: number }>()
  for (const { collection, version, envelopes } of counts) {
    const key = `${version} ${collection}`
    const sum = sums.get(key)
    if (sum === undefined) sums.set(key, { collection, version, envelopes })
    else sum.envelopes += envelopes
  }
  const all = [...sums.values()].sort((one, other) => other.envelopes - one.envelopes)
  return all.slice(0, mostListed)
}

async function rotationOf(store: Store, row: RotationDoc): Promise<Overview['rotation']> {
  const { rewrapped, superseded, quarantined } = await sumCounters(store, row._id)
  return {
    id: row._id,
    from: row.from,
    to: row.to,
    phase: row.phase,
    startedAt: row.started_at.toISOString(),
    total: row.total,
    rewrapped,
    superseded,
    quarantined,
  }
}

function lastOf(row: RotationDoc | null): Overview['lastRotation'] {
  if (row === null || row.outcome === null || row.ended_at === null) return null
  const { _id: id, from, to, outcome } = row
  return { id, from, to, outcome, endedAt: row.ended_at.toISOString() }
}

async function readProcesses(store: Store): Promise<ProcessFact[]> {
  const [roster, heartbeats, active] = await Promise.all([
    readRoster(store),
    readHeartbeats(store),
    readActive(store),
  ])
  const now = await serverNow(store)
  const running = heartbeats.filter((each) => each.malformed !== undefined || each.expires_at > now)
  return processStates(
    roster.map((row) => rosterFact(row, now)),
    running.map((row) => heartbeatFact(row, now)),
    active?.version ?? null,
  )
}

function countStates(processes: readonly ProcessFact[]): Overview['fleet'] {
  const fleet = { live: 0, degraded: 0, silent: 0, missing: 0 }
  for (const { state } of processes) fleet[state] += 1
  return fleet
}
