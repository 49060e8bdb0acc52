import type { InstallIdentity } from './names.ts'

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
