import type { RotateResult, RotationPhase } from '../contracts/rotation.ts'

/** A rotation's end, from its row and the error that ended it. */
export interface RotationEnd {
  phase: RotationPhase
  /** Whether it made its target the active version. */
  promoted: boolean
  /** Code of the error that ended it; null without one. */
  error: string | null
  /** Envelopes that it leaves in quarantine, odd ones included. */
  quarantined: number
}

/** A rotation that ends by an error before it has changed the fleet or an envelope is `refused`, later `failed`. */
export function rotationOutcome(end: RotationEnd): RotateResult['outcome'] {
  if (end.error === null) return end.quarantined > 0 ? 'completed-with-quarantine' : 'completed'
  if (end.error === 'cancelled') return 'cancelled'
  return end.promoted || end.phase === 'rewrap' || end.phase === 'settle' ? 'failed' : 'refused'
}
