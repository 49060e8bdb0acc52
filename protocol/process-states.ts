import type { ProcessState } from '../contracts/overview.ts'
import { isLive, type HeartbeatFact, type RosterFact } from './facts.ts'

/** A process of the fleet as pages and metrics show it; a `missing` one is an expected host without a process. */
export interface ProcessFact {
  node: string
  role: string | null
  pid: number | null
  state: ProcessState
  /** The version that it wraps under; null if none. */
  version: number | null
  heartbeatAgeSeconds: number | null
}

/** The ones that need attention come first. */
const order: ProcessState[] = ['missing', 'silent', 'degraded', 'live']

/**
 * The processes of these heartbeats, which have not expired, and the hosts that are expected and have none. `degraded`: it
 * has a lease, and has not loaded the active version.
 */
export function processStates(
  roster: readonly RosterFact[],
  heartbeats: readonly HeartbeatFact[],
  active: number | null,
): ProcessFact[] {
  const running = heartbeats.map((beat) => ({
    node: beat.node,
    role: beat.role,
    pid: beat.pid,
    state: stateOf(beat, active),
    version: beat.current,
    heartbeatAgeSeconds: beat.malformed === undefined ? Math.round(beat.ageMs / 100) / 10 : null,
  }))
  const present = new Set(heartbeats.map(({ node }) => node))
  const missing = roster
    .filter(({ node, kind, decommissioned }) => {
      return kind === 'host' && !decommissioned && !present.has(node)
    })
    .map(({ node, seenMsAgo }) => ({
      node,
      role: null,
      pid: null,
      state: 'missing' as const,
      version: null,
      heartbeatAgeSeconds: seenMsAgo === null ? null : Math.round(seenMsAgo / 1_000),
    }))
  return [...missing, ...running].sort(
    (one, other) =>
      order.indexOf(one.state) - order.indexOf(other.state) || (one.node < other.node ? -1 : 1),
  )
}

function stateOf(beat: HeartbeatFact, active: number | null): ProcessState {
  if (beat.malformed !== undefined || !isLive(beat)) return 'silent'
  const isLoaded = active === null || beat.loaded.some(({ version }) => version === active)
  return isLoaded ? 'live' : 'degraded'
}
