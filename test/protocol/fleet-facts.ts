import type { HeartbeatFact, RosterFact } from '../../protocol/facts.ts'

export const base = Date.parse('2025-03-01T12:00:00.000Z')

/** ISO time, given in seconds after the base. */
export function at(seconds: number): string {
  return new Date(base + seconds * 1000).toISOString()
}

export function host(node: string, fields: Partial<RosterFact> = {}): RosterFact {
  return { node, kind: 'host', decommissioned: false, seenMsAgo: 1000, ...fields }
}

/** The nonce of the question in all facts here. */
export const nonce = 'q'

export const proof = (version: number, answers: string | null = nonce, provenAt = at(4)) => ({
  version,
  provenAt,
  answers,
})

/** A live worker's heartbeat, with both versions proven for the question. */
export function heartbeat(id: string, fields: Partial<HeartbeatFact> = {}): HeartbeatFact {
  const [node = '', boot = ''] = id.split('/')
  return {
    id,
    node,
    boot,
    pid: 7,
    role: 'worker',
    startedAt: at(-600),
    at: at(5),
    ageMs: 1000,
    leaseMs: 90_000,
    expiresAt: at(300),
    current: 1,
    epoch: 1,
    settings: 'aa',
    reportsUses: true,
    notLoaded: [],
    loaded: [1, 2].map((version) => proof(version)),
    ...fields,
  }
}
