import type { RunCause, RunOutcome } from '../contracts/policy.ts'
import type { Priority } from '../contracts/rotation.ts'
import type { CheckMode } from '../contracts/settings.ts'

/** `kek_policy`: the scheduled rotation; at most one. The Schedule in Temporal only starts looks at it. */
export interface PolicyDoc {
  _id: 'policy'
  /** Its row in `kek_tasks`, which its Schedule names: a run of another policy finds that it is not this one. */
  task: string
  every_ms: number
  /** After midnight in `time_zone`; null for a period that is not whole days. */
  at_ms: number | null
  time_zone: string
  jitter_ms: number
  /** Null: all day. */
  window: { from_ms: number; to_ms: number } | null
  /** Null: no limit. */
  max_wraps: number | null
  /** Null: as in the worker's file; 0: no limit. */
  max_rate: number | null
  /** 0: no limit. */
  max_hsm_calls: number
  priority: Priority
  remove_after_ms: number | null
  provision: boolean
  set_at: Date
  set_by: string
  /** The next run by its date. */
  next_at: Date
  /** When the number of wraps started a run in this period; null if it started none. */
  early_at: Date | null
  /** Set by `policy run`, until a look takes it. */
  asked: { at: Date; by: string; now: boolean } | null
  paused: { at: Date; by: string; reason: string } | null
  /** The run that has not ended. */
  run: PolicyRunDoc | null
  /** The last runs, the newest last. */
  runs: PolicyRunDoc[]
  removals: PlannedRemovalDoc[]
}

export interface PolicyRunDoc {
  /** Run id of its workflow. */
  id: string
  cause: RunCause
  reason: string
  at: Date
  /** Begun with `--now`: its rotations have no window. */
  outside: boolean
  /** It waits for an unused version until then. */
  until: Date
  /** What it waits for; null if for nothing. */
  waits_for: string | null
  /** In their order; the one away from the version that was active is the last. */
  rotations: { id: string; from: number; to: number; main: boolean; check: CheckMode }[]
  ended_at: Date | null
  outcome: RunOutcome | null
  error: { code: string; message: string; hint?: string } | null
}

/** The removal of a version that a run has left. It is dropped when it is done or undone. */
export interface PlannedRemovalDoc {
  version: number
  /** `_id` of its newest request in `kek_removals`. */
  request: string
  rotation: string
  at: Date
  /** Why the last try was refused; null if none was. */
  reason: string | null
  tried_at: Date | null
}
