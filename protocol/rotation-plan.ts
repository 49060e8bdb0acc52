import type { TimedSample } from '../contracts/rotation-plan.ts'
import type { FleetTimings } from '../contracts/settings.ts'

/** Envelopes per second if nothing was measured yet: the order of magnitude of two cores and a software token. */
const assumedRate = 5_000

/** MongoDB's write rate, measured on two cores (docs/performance.md); a dry run writes nothing, so it is assumed. */
const assumedWritesPerSecond = 20_000

/** Envelopes per second from a sample, as if all stages shared one machine: a low estimate on purpose. */
export function sampledRate({ envelopes, readSeconds, tokenSeconds }: TimedSample): number | null {
  const each = (readSeconds + tokenSeconds) / envelopes + 1 / assumedWritesPerSecond
  return envelopes === 0 || !Number.isFinite(each) ? null : 1 / each
}

/**
 * Estimated seconds of a whole rotation. `rates`: known rates, the most reliable first. Settle waits at least one lease,
 * then counts twice, one heartbeat apart.
 */
export function plannedSeconds(options: {
  envelopes: number
  rates: readonly (number | null)[]
  maxRate: number
  fleet: Pick<FleetTimings, 'leaseMs' | 'heartbeatMs'>
}): number {
  const { envelopes, rates, maxRate, fleet } = options
  const measured = rates.find((rate) => rate !== null) ?? assumedRate
  const rate = maxRate > 0 ? Math.min(maxRate, measured) : measured
  return Math.ceil(envelopes / rate + (fleet.leaseMs + fleet.heartbeatMs) / 1_000)
}
