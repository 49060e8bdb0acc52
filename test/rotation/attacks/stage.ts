import { fileURLToPath } from 'node:url'
import { openFleet } from '../../support/fleet.ts'
import type { Fleet } from '../../support/fleet.ts'
import type { Processes, TestProcess } from '../../support/processes.ts'
import type { Network } from '../../support/network.ts'

const main = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))
const nodes = ['vm-a', 'vm-b'] as const

/** A fleet of two nodes; each worker reaches the servers through its own network. */
export interface Stage {
  readonly fleet: Fleet
  network(node: string): Network
  /** The keyturn.yaml of a node. */
  configOf(node: string): string
  close(): Promise<void>
}

interface Place {
  readonly network: Network
  readonly config: string
  readonly worker: TestProcess
}

export async function openStage(
  children: Processes,
  openNetwork: () => Promise<Network>,
  records: number,
): Promise<Stage> {
  const fleet = await openFleet({ provider: 'env', nodes: [], versions: [] })
  const places = new Map<string, Place>()
  const at = (node: string): Place => {
    const place = places.get(node)
    if (place === undefined) throw new Error(`no node "${node}"`)
    return place
  }
  const stage: Stage = {
    fleet,
    network: (node) => at(node).network,
    configOf: (node) => at(node).config,
    async close() {
      const all = [...places.values()]
      await Promise.all(all.map(({ worker }) => worker.stop()))
      await Promise.all(all.map(({ network }) => network.close()))
      await fleet.close()
    },
  }
  try {
    await Promise.all(
      nodes.map(async (node) => {
        places.set(node, await settle(fleet, children, node, await openNetwork()))
      }),
    )
    for (const version of [1, 2]) await fleet.installVersion(version)
    await fleet.fill(records)
    return stage
  } catch (error) {
    await stage.close()
    throw error
  }
}

async function settle(
  fleet: Fleet,
  children: Processes,
  node: string,
  network: Network,
): Promise<Place> {
  const config = await fleet.writeConfig(node, network.config)
  const [command, ...before] = [...network.within, process.execPath, main]
  const worker = children.spawn(
    command,
    [...before, 'worker', '--node', node, '--config', config],
    { env: fleet.env },
  )
  await worker.line('worker is up', 60_000)
  return { network, config, worker }
}
