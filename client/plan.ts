import { defaultProveMs, type Config } from '../contracts/settings.ts'
import type { RotationPlan, TimedSample } from '../contracts/rotation-plan.ts'
import { hsmBudget } from '../protocol/crypt-calls.ts'
import { plannedSeconds, sampledRate } from '../protocol/rotation-plan.ts'
import { measuredRate } from '../store/measured-rate.ts'
import { lastRotation } from '../store/rotations.ts'
import { requireInstalled, withKeystore, type Keystore } from './keystore.ts'
import { countByField, takeCensus } from './views/census.ts'
import { fleetNodes } from './views/nodes.ts'
import { requireTwoVersions } from '../protocol/rotation-route.ts'
import { routeOf } from './rotation-route.ts'

/** Times some envelopes of the largest field with this host's token; null where this host has no access to the keys. */
export type TimeEnvelopes = (
  keystore: Keystore,
  sample: { from: number; to: number; place: { collection: string; field: string } },
) => Promise<TimedSample | null>

/**
 * What a rotation would do and cost. Writes nothing, and needs neither a worker nor Temporal. The duration is estimated
 * from the sample, else from the last rotation, else from an order of magnitude: `basis` says which.
 */
export async function planRotation(
  config: Config,
  request: { from: number | null; to: number; maxRate: number; maxHsmCalls: number },
  time: TimeEnvelopes,
): Promise<RotationPlan & { from: number; to: number }> {
  requireTwoVersions(request)
  return withKeystore(config, async (keystore) => {
    requireInstalled(keystore, config)
    const { from, to } = await routeOf(keystore, request)
    const { check } = config.rewrap
    const census = await takeCensus(keystore.store, keystore.settings)
    const collections = countByField(census, keystore.settings, from)
    const envelopes = collections.reduce((sum, field) => sum + field.envelopes, 0)
    const place = [...collections].sort((a, b) => b.envelopes - a.envelopes)[0]
    const sample =
      place === undefined || place.envelopes === 0
        ? null
        : await time(keystore, { from, to, place: { ...place } })
    const sampled = sample === null ? null : sampledRate(sample)
    const measured = measuredRate(await lastRotation(keystore.store))
    const rates = [sampled, measured]
    const budget = hsmBudget({
      fleet: await fleetNodes(keystore.store),
      envelopes: { rotation: envelopes, all: census.total },
      check,
      proveMs: keystore.settings.fleet.proveMs ?? defaultProveMs,
    })
    const hsmCalls = budget.rotation
    const quota = { max: request.maxHsmCalls, enough: hsmCalls <= request.maxHsmCalls }
    return {
      from,
      to,
      collections,
      envelopes,
      hsmCalls,
      hsmBudget: budget,
      hsmQuota: request.maxHsmCalls === 0 ? null : quota,
      estimatedSeconds: plannedSeconds({
        envelopes,
        rates,
        maxRate: request.maxRate,
        fleet: keystore.settings.fleet,
      }),
      basis: sampled !== null ? 'sample' : measured !== null ? 'last-rotation' : 'assumed',
      sample,
    }
  })
}
