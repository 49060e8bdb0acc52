import type { FleetNode } from '../../contracts/fleet.ts'
import { colours } from './colours.ts'
import { seconds } from './figures.ts'
import { nodesText } from './present-nodes.ts'
import { table } from './tables.ts'

/** A fleet with more processes is shown in groups. `keyturn nodes` prints a line for each. */
export const linesAtMost = 24

/** The fleet in `keyturn status`: a line for each process; in a large fleet, a line for each group of equal processes. */
export function fleetText(nodes: FleetNode[]): string {
  const processes = nodes.reduce((sum, node) => sum + Math.max(1, node.processes.length), 0)
  return processes <= linesAtMost ? nodesText(nodes) : groupsText(nodes)
}

interface Group {
  cells: (string | null)[]
  names: string[]
  processes: number
  oldestSeconds: number | null
}

/** Groups processes that have the same state and versions. The largest group is last, so that exceptions are on top. */
function groupsText(nodes: FleetNode[]): string {
  const { green, red, dim } = colours()
  const groups = new Map<string, Group>()
  const add = (node: FleetNode, cells: (string | null)[], ageSeconds: number | null) => {
    const key = JSON.stringify(cells)
    const group = groups.get(key) ?? { cells, names: [], processes: 0, oldestSeconds: null }
    if (group.names.at(-1) !== node.node) group.names.push(node.node)
    if (ageSeconds !== null) {
      group.processes += 1
      group.oldestSeconds = Math.max(group.oldestSeconds ?? 0, ageSeconds)
    }
    groups.set(key, group)
  }
  for (const node of nodes) {
    const live = node.live ? green('live') : red('silent')
    const state = node.decommissioned ? dim('decommissioned') : live
    if (node.processes.length === 0) add(node, [node.kind, state, null, null, null], null)
    for (const { role, current, loaded, heartbeatAgeSeconds } of node.processes) {
      const versions = loaded.map((version) => `v${version}`).join(' ')
      const under = current === null ? null : `v${current}`
      add(node, [node.kind, state, role, under, versions], heartbeatAgeSeconds)
    }
  }
  const rows = [...groups.values()]
    .sort((one, other) => one.names.length - other.names.length)
    .map(({ cells, names, processes, oldestSeconds }) => [
      names.length,
      processes,
      ...cells,
      oldestSeconds === null ? null : seconds(oldestSeconds),
      names.length > 3 ? `${names.slice(0, 3).join(' ')} …` : names.join(' '),
    ])
  const head = [
    'nodes',
    'processes',
    'kind',
    'state',
    'role',
    'current',
    'loaded',
    'oldest',
    'names',
  ]
  return table(head, rows)
}
