import type { InstallIdentity } from './names.ts'
import type { DailyWindow } from './policy.ts'
import type { SweepPlan } from './rewrap.ts'
import type { CheckMode } from './settings.ts'

/** In their order. */
export const rotationPhases = [
  'preflight',
  'verify',
  'promote',
  'rewrap',
  'settle',
  'finish',
] as const

export type RotationPhase = (typeof rotationPhases)[number]

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
  /** Absent or null: at any time. */
  window?: SweepWindow | null
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

/**
 * Why a rotation is paused. `operator` and `hsm-budget`: until `resume`. `window`: until the window opens, or `resume --now`.
 * `hsm-away`: until the HSM answers.
 */
export const pauseCauses = ['operator', 'hsm-budget', 'window', 'hsm-away'] as const

export type PauseCause = (typeof pauseCauses)[number]

/** Also in the memo of the rotation's workflow, which can be read without a worker. It goes on when the set is empty. */
export interface RotationPause {
  paused: boolean
  /** The first cause; null if it is not paused, or an operator paused it. */
  pausedBy: PauseCause | null
  pauses: PauseCause[]
}

export function pauseOf(causes: readonly PauseCause[]): RotationPause {
  const pauses = pauseCauses.filter((cause) => causes.includes(cause))
  const [first = null] = pauses
  return { paused: first !== null, pausedBy: first === 'operator' ? null : first, pauses }
}

/** When a rotation may sweep: a part of each day in a time zone. */
export interface SweepWindow extends DailyWindow {
  timeZone: string
}

/** A look at a rotation's window. */
export interface WindowLook {
  isOpen: boolean
  /** When it closes or opens, ISO 8601. */
  until: string
  /** Until the next look, in milliseconds. */
  waitMs: number
}

/** Answer of the updates `resume` and `resumeNow` of `rotateKek`; the second takes off the window's pause too. */
export interface Resumed {
  /** Causes that it took off, and those that are left. */
  taken: PauseCause[]
  left: PauseCause[]
  /** When the window opens; null if it is open. */
  opensAt: string | null
}

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
  /** Of `awaiting`, the lines about its window and the HSM. */
  pausedFor: string[]
  startedAt: string
}

/** Updates of `rotateKek` without arguments. */
export type PlainUpdate = 'pause' | 'resume' | 'resumeNow' | 'cancel'

/** Update `setRate` of `rotateKek`: envelopes a second, 0 is no limit. The answer is the new rate. */
export interface SetRate {
  args: [rate: number]
  answer: number
}

/** Preflight's findings; the rotation uses these figures, not a host's file. */
export interface Preflight {
  /** Epoch of `kek_active` that promote compares against. */
  epoch: number
  /** False if B is active already: the rotation finishes a cancelled one. */
  promote: boolean
  /** An earlier run of the workflow, before a reset, has promoted: verify and promote are done. */
  isPast: boolean
  /** It may sweep only in its window. */
  hasWindow: boolean
  /** Envelopes under A, quarantine not counted. */
  total: number
  heartbeatMs: number
  leaseMs: number
  startedAt: string
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
export interface CarriedRotation {
  /** Without `hsm-away`. */
  pauses: PauseCause[]
  /** When its window opens; null while it is open. */
  opensAt: string | null
  /** It sweeps outside its window until that opens. */
  isOutside: boolean
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

/** One look at the fleet after promote. */
export interface SettleRound {
  settled: boolean
  /** One line for each process that may still wrap under A. */
  awaiting: string[]
  silent: string[]
}
