import { inWords } from '../contracts/durations.ts'
import type { NodeKind, NotReadyReason, ProcessRole } from '../contracts/fleet.ts'

/**
 * The input of the decisions in `protocol/`: documents of the keystore in JSON types, so that they fit a Temporal
 * payload. Times are ISO 8601 by the database's clock. Ages were measured by that clock when the document was read, so no
 * decision depends on a host's clock.
 */
export interface RosterFact {
  node: string
  kind: NodeKind
  decommissioned: boolean
  /** Time since one of its processes was last seen, in ms when it was read; null: never seen. */
  seenMsAgo: number | null
}

export interface HeartbeatFact {
  /** `node/boot`. */
  id: string
  node: string
  boot: string
  pid: number
  role: ProcessRole
  startedAt: string
  at: string
  /** How old it was when it was read, in ms. */
  ageMs: number
  /** The lease that this document claims for itself, in ms. */
  leaseMs: number
  /** When the TTL index deletes the document, which may be a minute later. */
  expiresAt: string
  /** The version that it wraps under; null when it wraps nothing. */
  current: number | null
  epoch: number | null
  /** `answers`: the nonce of the question that the proof was made for; null: made without one. `provenAt` is for display only. */
  loaded: { version: number; provenAt: string; answers: string | null }[]
  /**
   * Versions that it failed to load, with the reason; empty if an application in another language does not report them.
   * `answers` is absent if the writer repeats no nonce with a failure.
   */
  notLoaded: { version: number; reason: NotReadyReason; answers?: string | null }[]
  /** SHA-256 of its settings in hex; null if an application omits it. */
  settings: string | null
  /** It records its uses of a version that is pending removal. */
  reportsUses: boolean
  /** Set if the document is malformed: the member, and a digest that changes with the document. Nothing in it is trusted. */
  malformed?: { what: string; print: string }
}

interface RosterRow {
  readonly _id: string
  readonly kind: NodeKind
  readonly decommissioned_at?: Date | null
  readonly last_seen?: Date | null
}

interface HeartbeatRow {
  readonly _id: string
  readonly node: string
  readonly pid: number
  readonly role: ProcessRole
  readonly started_at: Date
  readonly at: Date
  readonly lease_until: Date
  readonly expires_at: Date
  readonly current?: number | null
  readonly epoch?: number | null
  readonly loaded?: readonly {
    readonly version: number
    readonly proven_at: Date
    readonly answers?: string | null
  }[]
  readonly not_loaded?: readonly {
    readonly version: number
    readonly reason: NotReadyReason
    readonly answers?: string | null
  }[]
  /** A BSON binary or a Buffer. */
  readonly settings?: { toString(encoding: 'hex'): string } | null
  readonly reports_uses?: boolean | null
  readonly malformed?: { readonly what: string; readonly print: string }
}

/** A row of `fleet_nodes` as a fact; `now` is the database's clock at the reading. */
export function rosterFact(row: RosterRow, now: Date): RosterFact {
  return {
    node: row._id,
    kind: row.kind,
    decommissioned: row.decommissioned_at !== undefined && row.decommissioned_at !== null,
    seenMsAgo: row.last_seen ? now.getTime() - row.last_seen.getTime() : null,
  }
}

/** A document of `process_heartbeats` as a fact; `now` is the database's clock at the reading. */
export function heartbeatFact(row: HeartbeatRow, now: Date): HeartbeatFact {
  if (row.malformed !== undefined) return malformedFact(row, row.malformed)
  return {
    id: row._id,
    node: row.node,
    boot: row._id.slice(row._id.lastIndexOf('/') + 1),
    pid: row.pid,
    role: row.role,
    startedAt: row.started_at.toISOString(),
    at: row.at.toISOString(),
    ageMs: now.getTime() - row.at.getTime(),
    leaseMs: row.lease_until.getTime() - row.at.getTime(),
    expiresAt: row.expires_at.toISOString(),
    current: row.current ?? null,
    epoch: row.epoch ?? null,
    loaded: (row.loaded ?? []).map(({ version, proven_at, answers }) => ({
      version,
      provenAt: proven_at.toISOString(),
      answers: answers ?? null,
    })),
    notLoaded: (row.not_loaded ?? []).map(({ version, reason, answers }) => ({
      version,
      reason,
      ...(answers === undefined ? {} : { answers }),
    })),
    settings: row.settings?.toString('hex') ?? null,
    reportsUses: row.reports_uses === true,
  }
}

/** Treated as if dated in the future: the process may be alive, and it proves nothing. */
function malformedFact(row: HeartbeatRow, malformed: { what: string; print: string }) {
  return {
    id: row._id,
    node: row.node,
    boot: row._id.slice(row._id.lastIndexOf('/') + 1),
    pid: row.pid,
    role: row.role,
    malformed,
    startedAt: row.started_at.toISOString(),
    at: row.at.toISOString(),
    ageMs: -1,
    leaseMs: 0,
    expiresAt: row.expires_at.toISOString(),
    current: null,
    epoch: null,
    loaded: [],
    notLoaded: [],
    settings: null,
    reportsUses: false,
  }
}

/** Whether the process's lease had not expired when its heartbeat was read, by the database's clock. */
export function isLive(heartbeat: Pick<HeartbeatFact, 'ageMs' | 'leaseMs'>): boolean {
  return heartbeat.ageMs <= heartbeat.leaseMs
}

/**
 * Whether a heartbeat counts as a proof: it is live, and not dated later than the database's clock at the reading.
 * A future date means that the document was edited or the clock was set back; the next heartbeat corrects it.
 */
export function isCredible(heartbeat: Pick<HeartbeatFact, 'ageMs' | 'leaseMs'>): boolean {
  return heartbeat.ageMs >= 0 && isLive(heartbeat)
}

/** A process as messages show it: `vm-a (worker, pid 12)`. */
export function processName(process: {
  node: string
  role: ProcessRole
  pid: number
  malformed?: HeartbeatFact['malformed']
}): string {
  const { malformed } = process
  if (malformed !== undefined) return `${process.node} (malformed heartbeat: ${malformed.what})`
  return `${process.node} (${process.role}, pid ${process.pid})`
}

/** A duration in ms as messages show it. */
export function inSeconds(ms: number): string {
  return inWords(Math.ceil(ms / 1000) * 1000)
}
