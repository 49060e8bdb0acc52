import { KeyturnError } from '../contracts/errors.ts'
import { readinessHints } from '../contracts/fleet.ts'
import { isLive, type HeartbeatFact } from './facts.ts'

/**
 * Null when all live processes run with the recorded settings, else `config-differs` with the names of the nodes.
 * Preflight and removal check it; `verify` reports it as a reason.
 */
export function configAgreement(
  heartbeats: readonly HeartbeatFact[],
  settings: string | null,
): KeyturnError | null {
  if (settings === null) return null
  const nodes = heartbeats
    .filter((heartbeat) => isLive(heartbeat) && heartbeat.settings !== null)
    .filter((heartbeat) => heartbeat.settings !== settings)
    .map(({ node }) => node)
  const names = [...new Set(nodes)].sort().map((node) => `"${node}"`)
  if (names.length === 0) return null
  return new KeyturnError('config-differs', `settings differ on ${names.join(', ')}`, {
    hint: readinessHints['config-differs'],
  })
}
