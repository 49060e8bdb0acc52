import type { ErrorReport } from './errors.ts'
import type { InstallIdentity } from './names.ts'
import type { RemoveInput } from './removal.ts'
import type { InstallInput } from './install.ts'
import type { Priority, RotateInput, RotationOutcome } from './rotation.ts'

/** A part of each day in a time zone, in milliseconds after midnight. It ends on the next day if `toMs` is not after `fromMs`. */
export interface DailyWindow {
  fromMs: number
  toMs: number
}

/** What `policy set` sets. Durations are milliseconds. */
export interface PolicyRules {
  everyMs: number
  /** After midnight in `timeZone`. Null for a period that is not whole days: its runs count from the first one. */
  atMs: number | null
  /** Name in the IANA time zone database. */
  timeZone: string
  /** A run starts late by a random part of this. */
  jitterMs: number
  /** Outside it no rotation begins, and one in `rewrap` pauses. Null: all day. */
  window: DailyWindow | null
  /** Wraps under the active version that start a run early. Null: no limit. */
  maxWraps: number | null
  /** Envelopes a second, 0: no limit; null: as in the worker's file. */
  maxRate: number | null
  /** Crypt calls of each of its rotations; 0: no limit. */
  maxHsmCalls: number
  priority: Priority
  /** From a rotation to the request to remove the old version. Null: it stays. */
  removeAfterMs: number | null
  /** False: it makes and installs no version. */
  provision: boolean
}

/** Why a run began: its date, the number of wraps, or `policy run`. */
export type RunCause = 'date' | 'wraps' | 'command'

export type RunOutcome = Exclude<RotationOutcome, 'started'> | 'skipped'

/** Input of `scheduledRotation`, kept in the Schedule: ids only. Each step reads the policy from its row. */
export interface PolicyInput {
  install: InstallIdentity
  /** The row of its task, in the keystore that it is for. */
  task: string
}

/** Answer of `lookAtPolicy`. */
export interface PolicyLook {
  /** A run was due and has begun. */
  begun: boolean
  /** Planned removals that are tried again. */
  removals: RemoveInput[]
}

/**
 * The next step of a run. `met`: a rotation that is not the run's has not ended. `waits`: for an unused version; look again
 * after `waitMs`.
 */
export type PolicyStep =
  | { state: 'rotate'; install: InstallInput | null; rotate: RotateInput }
  | { state: 'met'; rotation: string }
  | { state: 'waits'; waitMs: number }
  | { state: 'done' }

/** Answer of `endPolicyRun`. */
export interface PolicyRunEnd {
  outcome: RunOutcome
  error: ErrorReport | null
  removals: RemoveInput[]
}

/** Result of `scheduledRotation`. `idle`: no run was due. */
export interface PolicyResult {
  outcome: RunOutcome | 'idle'
}
