import { sleep, uuid4 } from '@temporalio/workflow'
import type { FleetSnapshot, Proof } from '../activities/fleet.ts'
import type { ReadinessReport } from '../contracts/fleet.ts'
import type { VerifyInput } from '../contracts/install.ts'
import { queues } from '../contracts/names.ts'
import { isLive } from '../protocol/facts.ts'
import { countingNonces } from '../protocol/proof-question.ts'
import { isReady, fleetReadiness, mayStillAnswer } from '../protocol/readiness.ts'
import type { WorkerAnswer } from '../protocol/readiness.ts'
import { askingNode, deciding } from './profiles.ts'

/** A live worker answers at once; one that does not within this time is stuck or gone. */
const answerWithinMs = 5_000

/**
 * Proves that each process of the fleet can use a version now. A question with a fresh nonce is written to the keystore.
 * Every process opens the canary, wraps and unwraps, and repeats the nonce in its next heartbeat. Workers are also asked on
 * their host's queue, and wrap a nonce that *another* node unwraps. Live processes that have not answered are awaited for
 * one heartbeat and one lease. A process that is silent after that is not ready and is named in the report, or, if it may
 * leave, has left. With a rotation, its row records the question and the live processes that were checked, so that a
 * process that starts or wakes later is known not to have been asked.
 */
export async function proveFleet(
  { install, task, target }: VerifyInput,
  rotation: string | null = null,
): Promise<ReadinessReport> {
  const nonce = uuid4()
  const first = await deciding.askFleet({ task, nonce, target, rotation })
  const deadline = Date.now() + first.heartbeatMs + first.leaseMs
  const answers: WorkerAnswer[] = []
  for (let fleet = first; ; fleet = await deciding.readFleet({ task })) {
    answers.push(...(await askUnanswered({ install, task, target }, fleet, answers)))
    const seen = await deciding.readFleet({ task })
    const nonces = countingNonces(seen.questions, nonce, target)
    const nodes = fleetReadiness({ ...seen, target, nonces, answers })
    // Two workers of one name are one node, which opened its own nonces.
    const hosts = new Set(answers.map(({ node }) => node))
    const crossChecked = hosts.size > 1 && answers.every(({ opened }) => opened === true)
    const report = { target, ready: isReady(nodes), nodes, crossChecked }
    const isFinal = !mayStillAnswer(nodes, { ...seen, answers }, first.heartbeatMs)
    if (report.ready || isFinal || Date.now() >= deadline) {
      const met = seen.heartbeats.filter(isLive).map(({ id }) => id)
      if (rotation !== null && report.ready)
        await deciding.recordMet({ task, rotation, nonce, met })
      return report
    }
    await sleep(Math.min(2_000, first.heartbeatMs / 4), { summary: 'waiting for answers' })
  }
}

/** Asks the hosts that have a live worker without an answer yet. A host without a live worker is reported missing elsewhere. */
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
  const pending = nodes.map(async (node) => {
    const host = askingNode(queues.node(install, node), answerWithinMs)
    return await host.proveVersion({ task, target }).catch(() => null)
  })
  const proofs = (await Promise.all(pending)).filter((proof) => proof !== null)
  const fresh = proofs.filter(({ boot }) => !isHeard(boot))
  const proven = [...fresh, ...answers].filter(({ reason }) => reason === null)
  const checked = fresh.map(async (proof) => await crossCheck(question, proof, proven))
  return (await Promise.all(checked)).filter((answer) => answer !== null)
}

/**
 * Lets another proven node open the nonce; a fleet of one node opens its own. Null when none of up to three nodes answered:
 * then the host is asked again.
 */
async function crossCheck(
  { install, task, target }: VerifyInput,
  { nonce, ...answer }: Proof,
  proven: readonly { node: string }[],
): Promise<WorkerAnswer | null> {
  if (nonce === null) return { ...answer, opened: null }
  // Start after the node's own position, so that in a large fleet no node has to open all nonces.
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
