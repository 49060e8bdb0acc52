import { KeyturnError } from '../contracts/errors.ts'
import type { FleetNode } from '../contracts/fleet.ts'
import type { Config } from '../contracts/settings.ts'
import { decommissionNode, expectNode } from '../store/fleet-nodes.ts'
import { withKeystore, withOwnKeystore } from './keystore.ts'
import { requester } from './temporal/names.ts'
import { fleetNodes } from './views/nodes.ts'

/** The roster with its processes. */
export async function readNodes(config: Config): Promise<FleetNode[]> {
  return withKeystore(config, ({ store }) => fleetNodes(store))
}

/** Changes the roster and returns it. `ask` is called once the node is found. Throws node-unknown, node-live. */
export async function changeRoster(
  config: Config,
  change: 'expect' | 'decommission',
  node: string,
  ask: () => Promise<void> = () => Promise.resolve(),
): Promise<FleetNode[]> {
  return withOwnKeystore(config, async ({ store }) => {
    if (change === 'decommission') {
      requireNode(await fleetNodes(store), node)
      await ask()
      await decommissionNode(store, node, requester())
    } else {
      await expectNode(store, node, requester())
    }
    return fleetNodes(store)
  })
}

function requireNode(nodes: FleetNode[], name: string): void {
  if (nodes.some(({ node }) => node === name)) return
  const known = nodes.map(({ node }) => node).join(', ')
  throw new KeyturnError('node-unknown', `node "${name}" is not on the roster`, {
    hint: known === '' ? 'no node was ever seen' : `on it are: ${known}`,
  })
}
