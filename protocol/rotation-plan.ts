import type { TimedSample } from '../contracts/rotation.ts'
import type { FleetTimings } from '../contracts/settings.ts'

/** Envelopes a second where nothing was measured yet: the order of magnitude of two cores and a soft token. */
const assumedRate = 5_000

/** What MongoDB takes of an envelope's write, measured on two cores (docs/performance.md); a dry run writes nothing. */
const assumedWritesPerSecond = 20_000

/** Envelopes a second by what a sample took, as if stages had to share one machine: rather too slow than too fast. */
export function sampledRate({ envelopes, readSeconds, tokenSeconds }: TimedSample): number | null {
  const each = (readSeconds + tokenSeconds) / envelopes + 1 / assumedWritesPerSecond
  return envelopes === 0 || !Number.isFinite(each) ? null : 1 / each
}

/**
 * Seconds of a whole rotation. `rates` are what is known of its speed, the best first; settle waits at least one lease,
 * and then for two looks a heartbeat apart.
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
