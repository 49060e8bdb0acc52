import { rotationRoute, routeVersions, type RotationRoute } from '../protocol/rotation-route.ts'
import { readActive } from '../store/kek-active.ts'
import { readVersions } from '../store/kek-versions.ts'
import type { Keystore } from './keystore.ts'
import { takeCensus } from './views/census.ts'

/**
 * The versions between which a rotation would run, with the protocol's defaults and refusals, so that a wrong number is
 * refused without a worker. The census is taken only where the default needs it.
 */
export async function routeOf(
  { store, settings }: Keystore,
  request: { from: number | null; to: number },
): Promise<RotationRoute> {
  const [rows, activeRow] = await Promise.all([readVersions(store), readActive(store)])
  const active = activeRow?.version ?? null
  const counts =
    request.from === null && request.to === active
      ? (await takeCensus(store, settings)).byVersion
      : {}
  return rotationRoute({ versions: routeVersions(rows, active, counts), active, ...request })
}
