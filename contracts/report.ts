import type { ProcessRole } from './fleet.ts'
import type { IvMode, ProviderName } from './kek.ts'
import type { Counters, Priority, RotationOutcome, RotationPhase } from './rotation.ts'
import type { CheckMode } from './settings.ts'

/** The shape of `report --json`: one rotation from its record. Null stands for what it has not reached, or did not record. */
export interface ReportView {
  /** The keystore's name and id. */
  install: { name: string; id: string | null }
  rotation: string
  workflowId: string
  runId: string | null
  from: number
  to: number
  phase: RotationPhase
  /** Null while it runs. */
  outcome: Exclude<RotationOutcome, 'started'> | null
  requestedBy: string
  reason: string
  startedAt: string
  promotedAt: string | null
  settledAt: string | null
  endedAt: string | null
  phases: { phase: RotationPhase; at: string; seconds: number }[]
  options: { page: number; shards: number | 'auto'; check: CheckMode; priority: Priority }
  /** Preflight's estimate. */
  plan: {
    envelopes: number
    hsmCalls: number
    durationSeconds: number
    check: CheckMode
    maxRate: number
  } | null
  truth: Counters & {
    /** Under A at preflight. */
    envelopes: number | null
    /** Under A now, quarantine not counted. */
    remaining: number
    durationSeconds: number
    /** In the phase `rewrap`; null below a thousand envelopes. */
    ratePerSecond: number | null
  }
  /** Crypt calls of its sweeps: the limit (null: none), and how many were reserved of it. */
  hsmQuota: { max: number | null; reserved: number }
  /** Envelopes of each field at preflight, and at the end. */
  before: FieldCensus[] | null
  after: FieldCensus[] | null
  /** Envelopes processed until then; at most five hundred times. */
  samples: { at: string; envelopes: number; hsmCalls: number }[]
  /** In quarantine under A, and odd ones, by reason: at its end, else now. */
  quarantine: QuarantineReason[]
  fleet: { atPromote: RecordedFleetView | null; atSettle: RecordedFleetView | null }
  /** How many of those processes ran which software; null: they do not report it. */
  software: { software: string | null; processes: number }[]
  /** Nodes whose processes were silent when settle ended. */
  silent: string[]
  /** Keys of both versions, as the probe found their token to work. Null: there is no such version. */
  probe: { from: ProbedKey | null; to: ProbedKey | null }
  /** Requests for approvals that were used for it. */
  approvals: UsedApproval[]
  /** Entries of the audit about it, the oldest first. */
  events: { at: string; action: string; actor: string }[]
  /** Where the audit's chain ends now. */
  auditHead: { entries: number; head: string }
  error: { code: string; message: string; hint?: string } | null
}

/** Raw counts. `collection` and `field` are null in an entry that sums the fields beyond the first thousand. */
export interface FieldCensus {
  collection: string | null
  field: string | null
  from: number
  to: number
  other: number
  odd: number
}

/** `message` is that of one of them. */
export interface QuarantineReason {
  collection: string
  field: string
  code: string
  message: string
  envelopes: number
}

/** `more`: processes beyond the first two thousand. */
export interface RecordedFleetView {
  at: string
  processes: {
    node: string
    pid: number
    role: ProcessRole
    live: boolean
    current: number | null
    epoch: number | null
    /** Which of the rotation's two versions. */
    loaded: number[]
    software: string | null
  }[]
  more: number
}

export interface ProbedKey {
  version: number
  provider: ProviderName
  store: string
  label: string
  origin: 'generated' | 'registered' | 'environment'
  madeBy: string
  createdAt: string
  /** How its key store does AES-GCM. */
  gcm: { ivMode: IvMode; ivLength: number; tagBits: number } | null
  /** Null for `env`, and if it is not recorded. */
  token: { serial: string; label: string; manufacturer: string; model: string } | null
}

/** `digest`: SHA-256 of the text that was signed. Each approval was verified when it was used. */
export interface UsedApproval {
  request: string
  requestedBy: string
  requestedAt: string
  usedAt: string | null
  digest: string
  approvedBy: { name: string; at: string }[]
}
