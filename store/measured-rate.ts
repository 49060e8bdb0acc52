import type { RotationDoc } from './documents.ts'

/** A smaller rotation is too short to measure. */
const worthMeasuring = 1_000

/** Envelopes per second of a finished rotation in its phase `rewrap`; null if it is too small. */
export function measuredRate(row: RotationDoc | null): number | null {
  if (row?.counters == null || row.counters.rewrapped < worthMeasuring) return null
  const from = row.phases?.rewrap ?? row.promoted_at
  const until = row.phases?.settle ?? row.settled_at ?? row.ended_at
  if (from === null || until === null) return null
  const rate = row.counters.rewrapped / ((until.getTime() - from.getTime()) / 1_000)
  return rate > 0 && Number.isFinite(rate) ? rate : null
}
