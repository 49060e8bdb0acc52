import type { NotReadyReason, ReadinessNode } from '../contracts/fleet.ts'
import { isCredible, isLive, type HeartbeatFact, type RosterFact } from './facts.ts'
import { hasAnswered } from './proof-question.ts'

/** A worker's answer on its own host's queue. */
export interface WorkerAnswer {
  node: string
  boot: string
  pid: number
  /** Null: it opened the canary and wrapped a nonce. */
  reason: NotReadyReason | null
  /** Whether another node (in a fleet of one: itself) opened that nonce; null: no node has answered. */
  opened: boolean | null
  provenAt: string
}

export interface ReadinessFacts {
  target: number
  /** The question's nonce, and those that count for it (`countingNonces`). A proof for another question does not count. */
  nonces: readonly string[]
  roster: readonly RosterFact[]
  /** All documents, including silent ones. */
  heartbeats: readonly HeartbeatFact[]
  answers: readonly WorkerAnswer[]
  /** Hash of `kek_settings` in hex; null when none are recorded. */
  settings: string | null
}

/**
 * Readiness for the target version: one entry for each process that must answer, and one for each expected host without a
 * process. A process is ready only if it proved the version for the question: its heartbeat repeats the nonce, and a
 * worker has also answered on its host's queue. A claim of a version, or a time, proves nothing.
 *
 * A silent process (its lease is over, so it cannot wrap) is omitted if its node is ephemeral or decommissioned, or if a
 * live process of the same role started on its node since: it was replaced. Otherwise it is refused by name.
 */
export function fleetReadiness(facts: ReadinessFacts): ReadinessNode[] {
  const expected = facts.heartbeats.filter((heartbeat) => isExpected(heartbeat, facts))
  const processes = expected.map((heartbeat) => processReadiness(heartbeat, facts))
  const known = new Set(expected.map(({ id }) => id))
  const unheard = facts.answers
    .filter(({ node, boot }) => !known.has(`${node}/${boot}`))
    .map(({ node, pid, reason }): ReadinessNode => ({
      node,
      role: 'worker',
      pid,
      ready: false,
      provenAt: null,
      reason: reason ?? 'lease-expired',
    }))
  const present = new Set([...processes, ...unheard].map(({ node }) => node))
  const missing = facts.roster
    .filter(({ node, kind, decommissioned }) => {
      return kind === 'host' && !decommissioned && !present.has(node)
    })
    .map(({ node }): ReadinessNode => ({
      node,
      role: null,
      pid: null,
      ready: false,
      reason: 'missing',
      provenAt: null,
    }))
  return [...processes, ...unheard, ...missing].sort(byName)
}

/** Whether every entry is ready. An empty fleet is not: nothing was proven. */
export function isReady(nodes: readonly ReadinessNode[]): boolean {
  return nodes.length > 0 && nodes.every(({ ready }) => ready)
}

/** Whether another node opened what each worker wrapped. Two workers of one name are one node, which opened its own nonces. */
export function isCrossChecked(answers: readonly WorkerAnswer[]): boolean {
  const hosts = new Set(answers.map(({ node }) => node))
  return hosts.size > 1 && answers.every(({ opened }) => opened === true)
}

/** The hosts with a live worker that has not answered on its host's queue, in order. */
export function unansweredWorkers(
  heartbeats: readonly HeartbeatFact[],
  answers: readonly WorkerAnswer[],
): string[] {
  const heard = new Set(answers.map(({ boot }) => boot))
  const unheard = heartbeats.filter(
    (one) => one.role === 'worker' && isLive(one) && !heard.has(one.boot),
  )
  return [...new Set(unheard.map(({ node }) => node))].sort()
}

/**
 * Whether waiting can change the result: for live processes that have not answered yet, and for a host whose process was
 * seen starting within the last heartbeat but has not written one yet.
 */
export function mayStillAnswer(
  nodes: readonly ReadinessNode[],
  { roster, heartbeats, answers }: Pick<ReadinessFacts, 'roster' | 'heartbeats' | 'answers'>,
  heartbeatMs: number,
): boolean {
  return nodes
    .filter(({ ready }) => !ready)
    .every(({ node, role, pid, reason }) => {
      if (reason === 'missing') {
        const seenMsAgo = roster.find((row) => row.node === node)?.seenMsAgo ?? null
        return seenMsAgo !== null && seenMsAgo <= heartbeatMs
      }
      // Check all with that pid: in a container each process has pid 1, including the dead predecessor.
      const maySpeak = heartbeats.some(
        (one) =>
          one.node === node &&
          one.role === role &&
          one.pid === pid &&
          isLive(one) &&
          !answers.some(({ boot, opened }) => boot === one.boot && opened !== true),
      )
      return maySpeak && (reason === 'stale' || reason === 'not-loaded')
    })
}

function isExpected(heartbeat: HeartbeatFact, { roster, heartbeats }: ReadinessFacts): boolean {
  if (isLive(heartbeat)) return true
  const row = roster.find(({ node }) => node === heartbeat.node)
  if (row === undefined || row.kind === 'ephemeral' || row.decommissioned) return false
  return !heartbeats.some(
    (other) =>
      other.node === heartbeat.node &&
      other.role === heartbeat.role &&
      isLive(other) &&
      Date.parse(other.startedAt) >= Date.parse(heartbeat.at),
  )
}

function processReadiness(heartbeat: HeartbeatFact, facts: ReadinessFacts): ReadinessNode {
  const answer = facts.answers.find(
    ({ node, boot }) => node === heartbeat.node && boot === heartbeat.boot,
  )
  const proof = heartbeat.loaded.find(({ version }) => version === facts.target)
  const reason =
    (answer === undefined
      ? heartbeatReason(heartbeat, facts)
      : answerReason(heartbeat, answer, facts)) ?? settingsReason(heartbeat, facts)
  const { node, role, malformed } = heartbeat
  // 0: the pid is malformed.
  const pid = malformed !== undefined && heartbeat.pid === 0 ? null : heartbeat.pid
  const provenAt = answer?.provenAt ?? proof?.provenAt ?? null
  const ready = reason === null
  return { node, role, pid, ready, reason, provenAt: ready ? provenAt : null }
}

function answerReason(
  heartbeat: HeartbeatFact,
  answer: WorkerAnswer,
  facts: ReadinessFacts,
): NotReadyReason | null {
  if (answer.reason !== null) return answer.reason
  if (answer.opened === false) return 'wrong-key'
  if (!isLive(heartbeat)) return 'lease-expired'
  return answer.opened === true && hasAnswered(heartbeat, facts.target, facts.nonces)
    ? null
    : 'stale'
}

/** For applications, and for a second worker under the name of a node for which another worker answered. */
function heartbeatReason(heartbeat: HeartbeatFact, facts: ReadinessFacts): NotReadyReason | null {
  if (!isCredible(heartbeat)) return 'stale'
  if (heartbeat.role === 'worker' && !facts.answers.some(({ node }) => node === heartbeat.node)) {
    return 'stale'
  }
  if (hasAnswered(heartbeat, facts.target, facts.nonces)) return null
  if (heartbeat.loaded.some(({ version }) => version === facts.target)) return 'stale'
  const failed = heartbeat.notLoaded.find(({ version }) => version === facts.target)
  if (failed === undefined) return 'not-loaded'
  // A failure from before the question may be over by now. A failure without a nonce is believed.
  const { answers, reason } = failed
  const isOld = answers !== undefined && (answers === null || !facts.nonces.includes(answers))
  return isOld ? 'stale' : reason
}

function settingsReason(heartbeat: HeartbeatFact, facts: ReadinessFacts): NotReadyReason | null {
  if (heartbeat.settings === null || facts.settings === null) return null
  return heartbeat.settings === facts.settings ? null : 'config-differs'
}

function byName(one: ReadinessNode, other: ReadinessNode): number {
  const key = ({ node, role, pid }: ReadinessNode) => `${node}\0${role ?? ''}\0${pid ?? 0}`
  return key(one) < key(other) ? -1 : 1
}
