import type { InstallIdentity } from './names.ts'
import type { CheckMode } from './settings.ts'

export type RotationPhase = 'preflight' | 'verify' | 'promote' | 'rewrap' | 'settle' | 'finish'

export type RotationOutcome =
  'started' | 'completed' | 'completed-with-quarantine' | 'cancelled' | 'refused' | 'failed'

/** Each envelope that a sweep meets is counted once, as one of the first three. */
export interface Counters {
  rewrapped: number
  superseded: number
  quarantined: number
  hsmCalls: number
}

export const noCounters: Counters = { rewrapped: 0, superseded: 0, quarantined: 0, hsmCalls: 0 }

/**
 * `rotation` goes as fast as database and token allow. `applications` sweeps fewer ranges at a time in short transactions,
 * and pauses between them, longer while they take longer.
 */
export type Priority = 'applications' | 'rotation'

export interface RotateInput {
  install: InstallIdentity
  /** The row of its task, in the keystore that it is for. */
  task: string
  rotation: string
  from: number
  to: number
  requestedBy: string
  reason: string
  /** Envelopes a second over the whole rotation; 0 is no limit. */
  maxRate: number
  /** Crypt calls in all; 0 is no limit. */
  maxHsmCalls: number
  page: number
  shards: number | 'auto'
  check: CheckMode
  /** Absent in rotations of older versions: `rotation`. */
  priority?: Priority
}

/** Result of `rotateKek`; `rotate --json` prints it under other names. */
export interface RotateResult extends Counters {
  rotation: string
  from: number
  to: number
  outcome: Exclude<RotationOutcome, 'started'>
  remaining: number
  durationSeconds: number
  /** Nodes whose processes were silent when settle ended. */
  silent: string[]
  error: { code: string; message: string; hint?: string } | null
}

/** Also in the memo of the rotation's workflow, which can be read without a worker. */
export interface RotationPause {
  paused: boolean
  /** Why, if no operator paused it: `hsm-budget` (until resumed), `hsm-away` (continues by itself). */
  pausedBy: string | null
}

export const notPaused: RotationPause = { paused: false, pausedBy: null }

/** Answer of the query `progress`; also the base of the current details in the Temporal UI. */
export interface RotationProgress extends Counters, RotationPause {
  rotation: string
  from: number
  to: number
  phase: RotationPhase
  /** Envelopes under A at preflight. */
  total: number
  maxRate: number
  /** What it waits for, a line each. */
  awaiting: string[]
  /** Of `awaiting`, the line about the HSM. */
  hsmAway: string | null
  startedAt: string
}

/** Updates of `rotateKek` without arguments or an answer. */
export type PlainUpdate = 'pause' | 'resume' | 'cancel'

/** Update `setRate` of `rotateKek`: envelopes a second, 0 is no limit. The answer is the new rate. */
export interface SetRate {
  args: [rate: number]
  answer: number
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

/** The shape of `rotate --dry-run --json`. */
export interface RotationPlan {
  collections: { collection: string; field: string; envelopes: number }[]
  envelopes: number
  hsmCalls: number
  /** The whole budget, this rotation's part included. */
  hsmBudget: HsmBudget
  /** Whether `--max-hsm-calls` is enough; null without that option. */
  hsmQuota: { max: number; enough: boolean } | null
  estimatedSeconds: number
  /** Source of the estimate. */
  basis: 'sample' | 'last-rotation' | 'assumed'
  sample: TimedSample | null
}

/** Crypt calls on the key store, failures and repeats left out. */
export interface HsmBudget {
  /** Proofs of all processes in a day in which nothing is wrapped or opened. */
  standingPerDay: number
  /** One `verify`, also the one of a rotation. */
  verify: number
  /** Re-wrapping the envelopes of the version that is, or would be, left. */
  rotation: number
  /** One `scan --unwrap`. */
  scan: number
}

/** A sample of envelopes, re-wrapped in memory with the real token; nothing was written. */
export interface TimedSample {
  envelopes: number
  readSeconds: number
  tokenSeconds: number
  hsmCalls: number
}

/** Preflight's findings; the rotation uses these figures, not a host's file. */
export interface Preflight {
  /** Epoch of `kek_active` that promote compares against. */
  epoch: number
  /** False if B is active already: the rotation finishes a cancelled one. */
  promote: boolean
  /** An earlier run of the workflow, before a reset, has promoted: verify and promote are done. */
  isPast: boolean
  /** Envelopes under A, quarantine not counted. */
  total: number
  heartbeatMs: number
  leaseMs: number
  startedAt: string
}

export interface RangePlan {
  range: string
  collection: string
  field: string
}

/** How far a rotation has started the ranges of one pass. */
export interface SweepPlan {
  /** 0 for the sweep, then 1, 2, … for each walk of the tail. */
  pass: number
  /** Read from the plan and not yet swept to their end. */
  waiting: RangePlan[]
  /** Name of the last range that was read from the plan; null before the first. */
  after: string | null
  /** No ranges are left to read. */
  isRead: boolean
}

/** Progress of a tail's walks. JSON. */
export interface WalkState {
  /** Envelopes that the rotation has processed, by its counters; -1 before the first walk. */
  dealt: number
  /** Envelopes remaining after the last walk, and the fewest after any; null before the first. */
  remaining: number | null
  fewest: number | null
  /** Walks in a row that processed none, and after which no fewer remain. */
  idle: number
  /** Walks in a row without a new minimum. */
  vain: number
}

/** State that a rotation's next run starts with, because a run's history is limited. */
export interface CarriedRotation extends RotationPause {
  phase: RotationPhase
  /** The pause as written to the memo. */
  shown: RotationPause
  cancelled: boolean
  maxRate: number
  total: number
  counters: Counters
  startedAt: string
  /** Null before preflight has ended. */
  facts: Preflight | null
  /** How often promote has returned the rotation to verify. */
  asked: number
  /** Null while no pass runs. */
  plan: SweepPlan | null
  /** Walks of the tail that were planned. */
  round: number
  /** Their progress. */
  walk: WalkState
  /** The last finished look at the fleet; null before the first. */
  fleet: SettleRound | null
  awaiting: string[]
  silent: string[]
}

/** What the rotation may change in running ranges. `rate` is the range's share, 0 is no limit. */
export interface Steering {
  paused: boolean
  cancelled: boolean
  rate: number
}

/** The versions and options are in the rotation's row. */
export interface RewrapRangeInput extends RangePlan {
  install: InstallIdentity
  /** The row of its task, in the keystore that it is for. */
  task: string
  rotation: string
  steering: Steering
  /** After the HSM was away: a short batch, so that its return is noticed soon. */
  trial?: boolean
}

/** Why a batch over a range ended; `replaced` means that a later attempt owns the range. */
export type SweepEnd = 'end' | 'deadline' | 'aborted' | 'replaced' | 'hsm-budget'

/** Nothing succeeded on the worker's HSM for as long as its pool waits. */
export interface HsmAway {
  end: 'hsm-away'
  /** What it answered. */
  why: string
}

/** Signal of a range to its rotation: it waits for the HSM, which answered `why`; null: it no longer waits. */
export interface HsmAvailability {
  range: string
  why: string | null
}

export interface RewrapRangeResult {
  end: 'end' | 'aborted' | 'hsm-budget'
}

/** One look at the fleet after promote. */
export interface SettleRound {
  settled: boolean
  /** One line for each process that may still wrap under A. */
  awaiting: string[]
  silent: string[]
}
