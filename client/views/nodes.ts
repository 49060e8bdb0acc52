import type { FleetNode, FleetProcess } from '../../contracts/fleet.ts'
import type { HeartbeatDoc } from '../../store/documents.ts'
import { readRoster } from '../../store/fleet-nodes.ts'
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
