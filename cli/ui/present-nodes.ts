import type { FleetNode } from '../../contracts/fleet.ts'
import { colours } from './colours.ts'
import { seconds } from './figures.ts'
import { table } from './tables.ts'

/** The roster: a line for each process, and one for each node without any. */
export function nodesText(nodes: FleetNode[]): string {
  if (nodes.length === 0) return 'no node was ever seen'
  const { green, red, dim } = colours()
  const rows = nodes.flatMap((node) => {
    const state = node.decommissioned
      ? dim('decommissioned')
      : node.live
        ? green('live')
        : red('silent')
    const empty = [node.node, node.kind, state, null, null, null, null, null]
    if (node.processes.length === 0) return [empty]
    return node.processes.map((process) => [
      node.node,
      node.kind,
      process.malformed === undefined ? state : red('malformed'),
      process.role,
      process.pid,
      process.current === null ? null : `v${process.current}`,
      process.loaded.map((version) => `v${version}`).join(' '),
      seconds(process.heartbeatAgeSeconds),
    ])
  })
  return table(['node', 'kind', 'state', 'role', 'pid', 'current', 'loaded', 'heartbeat'], rows)
}
