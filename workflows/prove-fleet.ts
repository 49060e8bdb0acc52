import { sleep, uuid4 } from '@temporalio/workflow'
import type { FleetSnapshot, Proof } from '../activities/index.ts'
import type { ReadinessReport } from '../contracts/fleet.ts'
import type { VerifyInput } from '../contracts/install.ts'
import { queues } from '../contracts/names.ts'
import { isLive } from '../protocol/facts.ts'
import { countingNonces } from '../protocol/proof-question.ts'
import { isReady, judgeReadiness, mayStillAnswer } from '../protocol/readiness.ts'
import type { WorkerAnswer } from '../protocol/readiness.ts'
import { askingNode, deciding } from './profiles.ts'

/** A live worker takes a question at once; one that does not within this time is stuck or gone. */
const answerWithinMs = 5_000

/**
 * Proves that each process of the fleet can use a version now. A question with a fresh nonce is asked in the keystore; every
 * process opens the canary, wraps and unwraps, and repeats the nonce in its next heartbeat; a worker is asked on its host's
 * queue too, and wraps a nonce that *another* node unwraps. Whoever lives and has not spoken is awaited, but only as long as
 * leases run: who is silent then is refused by name, or, if it may leave, has left. With a rotation, its row takes down what
 * was asked and each process that lived and was judged: who comes up, or wakes, later has not been asked.
 */
export async function proveFleet(
  { install, task, target }: VerifyInput,
  rotation: string | null = null,
): Promise<ReadinessReport> {
  const nonce = uuid4()
  const asked = await deciding.askFleet({ task, nonce, target, rotation })
  const deadline = Date.now() + asked.heartbeatMs + asked.leaseMs
  const answers: WorkerAnswer[] = []
  for (let fleet = asked; ; fleet = await deciding.readFleet({ task })) {
    answers.push(...(await askUnanswered({ install, task, target }, fleet, answers)))
    const seen = await deciding.readFleet({ task })
    const nonces = countingNonces(seen.questions, nonce, target)
    const nodes = judgeReadiness({ ...seen, target, nonces, answers })
    // Two workers that go by one name are one node: it opened its own nonces.
    const hosts = new Set(answers.map(({ node }) => node))
    const crossChecked = hosts.size > 1 && answers.every(({ opened }) => opened === true)
    const report = { target, ready: isReady(nodes), nodes, crossChecked }
    const isFinal = !mayStillAnswer(nodes, { ...seen, answers }, asked.heartbeatMs)
    if (report.ready || isFinal || Date.now() >= deadline) {
      const met = seen.heartbeats.filter(isLive).map(({ id }) => id)
      if (rotation !== null && report.ready)
        await deciding.recordMet({ task, rotation, nonce, met })
      return report
    }
    await sleep(Math.min(2_000, asked.heartbeatMs / 4), { summary: 'waiting for answers' })
  }
}

/** Asks the hosts with a live worker that has not answered yet; a host without one is found missing by its absence. */
async function askUnanswered(
  question: VerifyInput,
  fleet: FleetSnapshot,
  answers: readonly WorkerAnswer[],
): Promise<WorkerAnswer[]> {
  const { install, task, target } = question
  const isHeard = (boot: string) => answers.some((answer) => answer.boot === boot)
  const unheard = fleet.heartbeats.filter(
    (one) => one.role === 'worker' && isLive(one) && !isHeard(one.boot),
  )
  const nodes = [...new Set(unheard.map(({ node }) => node))].sort()
  const asked = nodes.map(async (node) => {
    const host = askingNode(queues.node(install, node), answerWithinMs)
    return await host.proveVersion({ task, target }).catch(() => null)
  })
  const proofs = (await Promise.all(asked)).filter((proof) => proof !== null)
  const fresh = proofs.filter(({ boot }) => !isHeard(boot))
  const proven = [...fresh, ...answers].filter(({ reason }) => reason === null)
  const checked = fresh.map(async (proof) => await crossCheck(question, proof, proven))
  return (await Promise.all(checked)).filter((answer) => answer !== null)
}

/**
 * Lets another node that could prove itself open the nonce; a fleet of one has to do it alone. Null when none of three
 * answered: then the host is asked once more.
 */
async function crossCheck(
  { install, task, target }: VerifyInput,
  { nonce, ...answer }: Proof,
  proven: readonly { node: string }[],
): Promise<WorkerAnswer | null> {
  if (nonce === null) return { ...answer, opened: null }
  // From its own place on, so that the work is spread: in a large fleet nobody is asked to open all nonces.
  const at = proven.findIndex(({ node }) => node === answer.node)
  const nodes = [...proven.slice(at + 1), ...proven.slice(0, at + 1)].map(({ node }) => node)
  const others = nodes.filter((node) => node !== answer.node)
  for (const node of others.length > 0 ? others.slice(0, 3) : [answer.node]) {
    const host = askingNode(queues.node(install, node), answerWithinMs)
    const opened = await host.openNonce({ task, target, nonce }).catch(() => null)
    if (opened !== null) return { ...answer, opened }
  }
  return null
}
