import type { FleetNode, FleetProcess } from '../../contracts/fleet.ts'
import type { HeartbeatDoc } from '../../store/documents.ts'
import { decommissionNode, expectNode, readRoster } from '../../store/fleet-nodes.ts'
import { readHeartbeats } from '../../store/process-heartbeats.ts'
import { serverNow, type Store } from '../../store/store.ts'

/** The roster with the live processes of each node, by the database's clock; nodes are sorted by name. */
export async function fleetNodes(store: Store): Promise<FleetNode[]> {
  const [roster, heartbeats, now] = await Promise.all([
    readRoster(store),
    readHeartbeats(store),
    serverNow(store),
  ])
  const live = heartbeats.filter(({ expires_at, malformed }) => {
    return malformed !== undefined || expires_at > now
  })
  const names = new Set([...roster.map(({ _id }) => _id), ...live.map(({ node }) => node)])
  return [...names].sort().map((node) => {
    const row = roster.find(({ _id }) => _id === node)
    const processes = live.filter((heartbeat) => heartbeat.node === node)
    return {
      node,
      kind: row?.kind ?? 'ephemeral',
      live: processes.some(({ lease_until, malformed }) => {
        return malformed === undefined && lease_until > now
      }),
      decommissioned: (row?.decommissioned_at ?? null) !== null,
      processes: processes.map((heartbeat) => processOf(heartbeat, now)),
    }
  })
}

/** Puts a node on the roster, or back on it after a decommission. */
export async function expectFleetNode(store: Store, node: string, by: string): Promise<void> {
  await expectNode(store, node, by)
}

/** Takes a node off the roster: nothing waits for it any more. Throws node-unknown and node-live. */
export async function decommissionFleetNode(store: Store, node: string, by: string): Promise<void> {
  await decommissionNode(store, node, by)
}

function processOf(heartbeat: HeartbeatDoc, now: Date): FleetProcess {
  const age = (now.getTime() - heartbeat.at.getTime()) / 1000
  return {
    role: heartbeat.role,
    pid: heartbeat.pid,
    current: heartbeat.current,
    epoch: heartbeat.epoch,
    loaded: heartbeat.loaded.map(({ version }) => version).sort((one, other) => one - other),
    ...(heartbeat.malformed && { malformed: heartbeat.malformed.what }),
    heartbeatAgeSeconds: Math.max(0, Math.round(age * 10) / 10),
  }
}
