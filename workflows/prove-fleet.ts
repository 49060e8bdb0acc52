import { sleep } from '@temporalio/workflow'
import type { FleetSnapshot, Proof } from '../activities/index.ts'
import type { ReadinessNode, ReadinessReport } from '../contracts/fleet.ts'
import { queues } from '../contracts/names.ts'
import { isLive } from '../protocol/facts.ts'
import { isReady, judgeReadiness } from '../protocol/readiness.ts'
import type { WorkerAnswer } from '../protocol/readiness.ts'
import { askingNode, deciding } from './profiles.ts'

/** A live worker takes a question at once; one that does not within this time is stuck or gone. */
const answerWithinMs = 5_000

/**
 * Proves that each process of the fleet can use a version now. Every host's worker opens the canary and wraps a fresh
 * nonce that *another* node unwraps; an application answers by its next heartbeat. Waits for those only as long as
 * their leases run: who is silent then is refused by name, or, if it may leave, has left.
 */
export async function proveFleet(install: string, target: number): Promise<ReadinessReport> {
  const asked = await deciding.readFleet()
  const proofs = await askWorkers(install, target, workersOf(asked))
  const answers = await crossCheck(install, target, proofs)
  const deadline = Date.now() + asked.heartbeatMs + asked.leaseMs
  for (;;) {
    const seen = await deciding.readFleet()
    const facts = { ...seen, target, askedAt: asked.now, answers }
    const nodes = judgeReadiness(facts)
    const crossChecked = answers.length > 1 && answers.every(({ opened }) => opened !== null)
    const report = { target, ready: isReady(nodes), nodes, crossChecked }
    if (report.ready || Date.now() >= deadline || !mayStillAnswer(nodes, seen, answers)) {
      return report
    }
    await sleep(Math.min(2_000, asked.heartbeatMs / 4), {
      summary: 'applications answer by their heartbeat',
    })
  }
}

/** The nodes with a live worker; a host without one is found missing by its absence. */
function workersOf(fleet: FleetSnapshot): string[] {
  const workers = fleet.heartbeats.filter((one) => one.role === 'worker' && isLive(one))
  return [...new Set(workers.map(({ node }) => node))].sort()
}

async function askWorkers(install: string, target: number, nodes: string[]): Promise<Proof[]> {
  const asked = nodes.map(async (node) => {
    const host = askingNode(queues.node(install, node), answerWithinMs)
    return await host.proveVersion({ target }).catch(() => null)
  })
  return (await Promise.all(asked)).filter((proof) => proof !== null)
}

/** Each nonce is opened by another node that could prove itself; a fleet of one has to do it alone. */
async function crossCheck(
  install: string,
  target: number,
  proofs: readonly Proof[],
): Promise<WorkerAnswer[]> {
  const good = proofs.filter(({ nonce }) => nonce !== null)
  const checked = proofs.map(async (proof) => {
    const { nonce, ...answer } = proof
    if (nonce === null) return { ...answer, opened: null }
    const place = good.indexOf(proof)
    const others = [...good.slice(place + 1), ...good.slice(0, place)]
    for (const { node } of others.length > 0 ? others.slice(0, 3) : [proof]) {
      const host = askingNode(queues.node(install, node), answerWithinMs)
      const opened = await host.openNonce({ target, nonce }).catch(() => null)
      if (opened !== null) return { ...answer, opened }
    }
    return { ...answer, opened: null }
  })
  return await Promise.all(checked)
}

/** Whether waiting can change the verdict: only for live processes that have not spoken since they were asked. */
function mayStillAnswer(
  nodes: readonly ReadinessNode[],
  fleet: FleetSnapshot,
  answers: readonly WorkerAnswer[],
): boolean {
  return nodes
    .filter(({ ready }) => !ready)
    .every(({ node, role, pid, reason }) => {
      const heartbeat = fleet.heartbeats.find(
        (one) => one.node === node && one.role === role && one.pid === pid,
      )
      const isWaiting = reason === 'stale' || reason === 'not-loaded'
      // A second worker that goes by a node's name answers by its heartbeat too; one that spoke has spoken.
      const answer = answers.find((one) => one.node === node)
      const isAsked = role === 'app' || (answer !== undefined && answer.boot !== heartbeat?.boot)
      return isAsked && isWaiting && heartbeat !== undefined && isLive(heartbeat)
    })
}
