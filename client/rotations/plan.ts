import type { CheckMode, Config } from '../../contracts/settings.ts'
import type { RotationPlan } from '../../contracts/rotation.ts'
import type { RotationDoc } from '../../store/documents.ts'
import { lastRotation } from '../../store/rotations.ts'
import { requireInstalled, withKeystore } from '../keystore.ts'
import { countByField } from '../views/census.ts'
import { routeOf } from './route.ts'

/** Crypt calls for one envelope: unwrap and wrap, and the check, which opens again (sampled: 1 in 16). */
const callsPerEnvelope: Record<CheckMode, number> = { all: 3, sampled: 2 + 1 / 16, none: 2 }

/** Envelopes a second where no rotation was measured yet: the order of magnitude of two cores and a soft token. */
const assumedRate = 5000

/** What a rotation would do and cost. It touches nothing, and needs neither a worker nor Temporal. */
export async function planRotation(
  config: Config,
  asked: { from: number | null; to: number; maxRate: number },
): Promise<RotationPlan & { from: number; to: number }> {
  return withKeystore(config, async (keystore) => {
    requireInstalled(keystore, config)
    const { from, to } = await routeOf(keystore, asked)
    const collections = await countByField(keystore.store, keystore.settings, from)
    const envelopes = collections.reduce((sum, field) => sum + field.envelopes, 0)
    const measured = rateOf(await lastRotation(keystore.store)) ?? assumedRate
    const rate = asked.maxRate > 0 ? Math.min(asked.maxRate, measured) : measured
    return {
      from,
      to,
      collections,
      envelopes,
      hsmCalls: Math.ceil(envelopes * callsPerEnvelope[config.rewrap.check]),
      // Settle waits at least one lease, and then for two looks a heartbeat apart.
      estimatedSeconds: Math.ceil(envelopes / rate + settleSeconds(keystore.settings.fleet)),
    }
  })
}

function settleSeconds(fleet: Config['fleet']): number {
  return (fleet.leaseMs + fleet.heartbeatMs) / 1000
}

/** Envelopes a second of a rotation that ended, null where it says nothing. */
function rateOf(row: RotationDoc | null): number | null {
  if (row === null || row.counters === null || row.promoted_at === null) return null
  const until = row.settled_at ?? row.ended_at
  if (until === null || row.counters.rewrapped < 1000) return null
  const rate = row.counters.rewrapped / ((until.getTime() - row.promoted_at.getTime()) / 1000)
  return rate > 0 && Number.isFinite(rate) ? rate : null
}
