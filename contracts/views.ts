import type { ApprovalRequestView } from './approvals.ts'
import type { ErrorCode } from './errors.ts'
import type { HsmKeyState, ProviderName, VersionState } from './kek.ts'
import type { FleetNode } from './fleet.ts'
import type { RunCause, RunOutcome } from './policy.ts'
import type { Priority, RotationOutcome, RotationPhase, RotationPause } from './rotation.ts'
import type { HsmBudget } from './rotation-plan.ts'
import type { UseView } from './uses.ts'

/** The shape of `status --json`. */
export interface StatusView {
  install: string
  provider: ProviderName | null
  active: { version: number; epoch: number; since: string } | null
  versions: {
    version: number
    /** `unknown`: envelopes name it, but the keystore has no such version. */
    state: VersionState | 'unknown'
    label: string
    /** Null where it is `unknown`. */
    createdAt: string | null
    envelopes: number
  }[]
  /** `odd`: envelopes that cannot be placed under a version; `total` counts them too. */
  envelopes: {
    total: number
    byVersion: Record<string, number>
    odd: number
    quarantined: number
  }
  rotation: RotationView | null
  lastRotation: LastRotation | null
  /** Uses of versions that are pending removal, or were. The newest of each version first. */
  uses: (UseView & { version: number })[]
  /** A rotation that has not ended although its workflow is gone; the same `rotate` command continues it. */
  abandoned?: { id: string; from: number; to: number; phase: RotationPhase; startedAt: string }
  fleet: FleetNode[]
  policy: PolicyView | null
  /** Open requests for approvals; absent if there are none. */
  requests?: ApprovalRequestView[]
  /** Budget of crypt calls; `rotation` is for one away from the active version. */
  hsmBudget: HsmBudget
  /** Builds and stuck runs, from Temporal; absent if it does not answer. */
  workflows?: WorkflowsView
  temporal?: 'unreachable'
  /** Present if recorded collections are lost; their envelopes are not in these counts. */
  lost?: LostCollectionView[]
  /** Present if a majority of MongoDB's members confirms no write; heartbeats and counts are then stale. */
  mongodb?: { unconfirmedSince: string }
}

/** A recorded collection that is missing, was replaced, or cannot be swept. */
export interface LostCollectionView {
  name: string
  code: ErrorCode
  message: string
}

export interface WorkflowsView {
  /** False: the server has no worker deployments, and any worker takes any run. */
  versioned: boolean
  /** The build that new runs go to; null while there is none. */
  current: string | null
  /** Workers that serve workflows now; `build`: null if the worker does not report one. */
  workers: { node: string; pid: number; build: string | null }[]
  /** Stuck runs. */
  troubled: TroubledRun[]
}

/**
 * `build-unserved`: no worker of the build that it needs is alive. `task-failing`: its workflow fails repeatedly on
 * each worker, with `message`.
 */
export interface TroubledRun {
  workflowId: string
  type: string
  build: string | null
  reason: 'build-unserved' | 'task-failing'
  message: string | null
}

export interface LastRotation {
  id: string
  from: number
  to: number
  outcome: RotationOutcome
  endedAt: string
}

/** The shape of `policy show --json`, also in `status`. Times are ISO 8601 in UTC. */
export interface PolicyView {
  everyDays: number
  /** `03:00` in `timeZone`; null for a period that is not whole days. */
  at: string | null
  timeZone: string
  jitterSeconds: number
  /** `22:00-05:00` in `timeZone`; null: all day. */
  window: string | null
  maxWraps: number | null
  /** Null: as in the worker's file. */
  maxRate: number | null
  /** Crypt calls that each of its rotations may spend; null: no limit. */
  maxHsmCalls: number | null
  priority: Priority
  removeAfterDays: number | null
  provision: boolean
  paused: boolean
  pausedReason: string | null
  /** Null while it is paused; `nextRuns` is empty then. */
  nextRun: string | null
  nextRuns: string[]
  /** `nextRuns` with the offset of `timeZone`. */
  nextRunsLocal: string[]
  /** The run that has not ended. */
  run: (PolicyRunView & { waitsFor: string | null }) | null
  lastRun: PolicyRunView | null
  /** Up to 20, the newest first. */
  lastRuns: PolicyRunView[]
  plannedRemovals: PlannedRemovalView[]
  /** Wraps under the active version, and how many start a run early. */
  wraps: { active: number; bound: number | null }
}

export interface PolicyRunView {
  at: string
  cause: RunCause
  reason: string
  /** Its last rotation; null if it began none. */
  rotation: string | null
  /** Null while it runs. */
  outcome: RunOutcome | null
  error: { code: string; message: string; hint?: string } | null
}

export interface PlannedRemovalView {
  version: number
  at: string
  /** Why the last try was refused. */
  reason: string | null
}

/** The shape of `scan --json`. `opened` is null without `--unwrap`. */
export interface ScanView {
  envelopes: number
  byVersion: Record<string, number>
  /** Envelopes that cannot be placed under a version; the first 10,000 of a field are among `failed`. */
  odd: number
  opened: number | null
  failed: {
    collection: string
    id: unknown
    field: string
    /** Null where it is odd. */
    kekVersion: number | null
    code: string
  }[]
  /** As in `status`. */
  lost?: LostCollectionView[]
}

export type GuardName =
  | 'not-active'
  | 'no-rotation'
  | 'fleet-past'
  | 'settings-agree'
  | 'census-zero'
  | 'quarantine-empty'
  | 'not-used'
  | 'backup-window'
  | 'backups'
  | 'approvals'
  | 'fence'

export interface Guard {
  guard: GuardName
  ok: boolean
  detail: string
  /** When it will pass, if only time is missing. */
  until?: string
  /** Set if it fails for a reason that has its own code. */
  code?: ErrorCode
}

/** The shape of `remove --json`. */
export interface RemovalView {
  version: number
  state: VersionState
  dueAt: string | null
  hsmKey: HsmKeyState
  guards: Guard[]
  /** Since its removal was requested; all that are recorded when none is pending. The newest first. */
  uses: UseView[]
}

export interface QuarantineView {
  collection: string
  id: unknown
  field: string
  /** Null where it is odd. */
  kekVersion: number | null
  code: string
  message: string
  /** The last rotation that met it; null when only `quarantine scan` or a removal did. */
  rotation: string | null
  firstSeen: string
  attempts: number
  /** How many envelopes it counts: more than one only in the row `odd-many`, which has no id. */
  count: number
}

/** The shape of `quarantine scan --json`. */
export interface QuarantineScanView {
  /** Odd envelopes that were found. */
  odd: number
  /** Of them, new in quarantine. */
  quarantined: number
  /** Rows of envelopes that were repaired or deleted. */
  cleared: number
}

/** The shape of `status.rotation`. */
export interface RotationView extends RotationPause {
  id: string
  workflowId: string
  runId: string | null
  from: number
  to: number
  phase: RotationPhase
  rewrapped: number
  superseded: number
  quarantined: number
  remaining: number
  ratePerSecond: number
  etaSeconds: number | null
  startedAt: string
  /** What it waits for, a line each. */
  awaiting: string[]
}
