import { KeyturnError } from '../contracts/errors.ts'
import { cures } from '../contracts/fleet.ts'
import { isLive, type HeartbeatFact } from './facts.ts'

/**
 * Null when no live process runs with settings other than the recorded ones, else `config-differs` with the names
 * of the nodes. Asked by preflight and by removal; `verify` names it as a reason.
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
  const names = [...new Set(nodes)].sort().map((node) => `'${node}'`)
  if (names.length === 0) return null
  return new KeyturnError('config-differs', `settings differ on ${names.join(', ')}`, {
    hint: cures['config-differs'],
  })
}
