import type { HeartbeatFact, RosterFact } from '../../protocol/facts.ts'

export const base = Date.parse('2025-03-01T12:00:00.000Z')

/** ISO time so many seconds after the base. */
export function at(seconds: number): string {
  return new Date(base + seconds * 1000).toISOString()
}

export function host(node: string, fields: Partial<RosterFact> = {}): RosterFact {
  return { node, kind: 'host', decommissioned: false, seenMsAgo: 1000, ...fields }
}

/** A live worker's heartbeat, written 5 s after the base, with version 2 proven at 4 s. */
export function heartbeat(id: string, fields: Partial<HeartbeatFact> = {}): HeartbeatFact {
  const [node = '', boot = ''] = id.split('/')
  return {
    ...{ id, node, boot, pid: 7, role: 'worker', startedAt: at(-600), at: at(5), ageMs: 1000 },
    ...{ leaseMs: 90_000, current: 1, epoch: 1, settings: 'aa', notLoaded: [] },
    loaded: [1, 2].map((version) => ({ version, provenAt: at(4) })),
    ...fields,
  }
}
