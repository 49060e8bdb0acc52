import type { VersionState } from './kek.ts'
import type { RotationOutcome, RotationPhase } from './rotation.ts'
import type { GuardName } from './views.ts'

/** The state of a process of the fleet: `silent` has a row and no lease, `missing` is an expected host without a row. */
export type ProcessState = 'live' | 'degraded' | 'silent' | 'missing'

/**
 * What the pages and metrics of all workers show: census, rotation and fleet, taken by one worker at a time and kept in
 * `kek_overview`. Lists are cut at `mostListed`.
 */
export interface Overview {
  active: { version: number; epoch: number; since: string } | null
  versions: {
    version: number
    /** `unknown`: envelopes name it, but the keystore has no such version. */
    state: VersionState | 'unknown'
    envelopes: number
    /** DEKs wrapped under it so far; null where it is `unknown`. */
    wraps: number | null
    activatedAt: string | null
    removalDueAt: string | null
    /** Guards of a pending removal that fail now. */
    failingGuards: GuardName[]
  }[]
  census: { collection: string; version: number; envelopes: number }[]
  odd: { collection: string; envelopes: number }[]
  quarantined: number
  /** Requests for approval that are open. */
  requestsOpen: number
  rotation: {
    id: string
    from: number
    to: number
    phase: RotationPhase
    startedAt: string
    /** Envelopes to process; null before the phase `rewrap`. */
    total: number | null
    rewrapped: number
    superseded: number
    quarantined: number
  } | null
  lastRotation: {
    id: string
    from: number
    to: number
    outcome: RotationOutcome
    endedAt: string
  } | null
  /** The end of the last rotation that completed, with quarantine or without. */
  lastCompletedAt: string | null
  fleet: Record<ProcessState, number>
  /** Processes that are not `live` come first. */
  processes: {
    node: string
    role: string | null
    pid: number | null
    state: ProcessState
    version: number | null
    heartbeatAgeSeconds: number | null
  }[]
}

/** Entries of a list of an overview at most, so that its document stays under about a megabyte. */
export const mostListed = 1_000

/** An overview with the database's time before it was taken. */
export interface DatedOverview extends Overview {
  asOf: string
}
