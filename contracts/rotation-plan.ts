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
