import type { ProviderName, VersionState } from './kek.ts'
import type { FleetNode } from './fleet.ts'
import type { RotationOutcome, RotationView } from './rotation.ts'

/** The shape of `status --json`. */
export interface StatusView {
  install: string
  provider: ProviderName | null
  active: { version: number; epoch: number; since: string } | null
  versions: {
    version: number
    state: VersionState
    label: string
    createdAt: string
    envelopes: number
  }[]
  envelopes: { total: number; byVersion: Record<string, number>; quarantined: number }
  rotation: RotationView | null
  lastRotation: LastRotation | null
  fleet: FleetNode[]
  policy: PolicyView | null
  temporal?: 'unreachable'
}

export interface LastRotation {
  id: string
  from: number
  to: number
  outcome: RotationOutcome
  endedAt: string
}

export interface PolicyView {
  everyDays: number
  at: string
  removeAfterDays: number | null
  paused: boolean
  nextRun: string | null
  lastRun: string | null
}

/** The shape of `scan --json`. `opened` is null without `--unwrap`. */
export interface ScanView {
  envelopes: number
  byVersion: Record<string, number>
  opened: number | null
  failed: { collection: string; id: unknown; field: string; kekVersion: number; code: string }[]
}

export type GuardName =
  | 'not-active'
  | 'no-rotation'
  | 'fleet-past'
  | 'census-zero'
  | 'quarantine-empty'
  | 'backup-window'
  | 'approvals'
  | 'fence'

export interface Guard {
  guard: GuardName
  ok: boolean
  detail: string
}

/** The shape of `remove --json`. */
export interface RemovalView {
  version: number
  state: VersionState
  dueAt: string | null
  guards: Guard[]
}

export interface QuarantineView {
  collection: string
  id: unknown
  field: string
  kekVersion: number
  code: string
  message: string
  rotation: string
  firstSeen: string
  attempts: number
}
