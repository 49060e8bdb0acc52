import { sleep, uuid4 } from '@temporalio/workflow'
import type { Proof } from '../activities/fleet.ts'
import type { ReadinessReport } from '../contracts/fleet.ts'
import type { VerifyInput } from '../contracts/install.ts'
import { queues } from '../contracts/names.ts'
import type { WorkerAnswer } from '../protocol/readiness.ts'
import { askingNode, deciding, surveying } from './profiles.ts'

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
  const { workers, heartbeatMs, leaseMs } = await deciding.askFleet({
    task,
    nonce,
    target,
    rotation,
  })
  const deadline = Date.now() + heartbeatMs + leaseMs
  const answers: WorkerAnswer[] = []
  for (let unasked = workers; ;) {
    const fresh = await askWorkers({ install, task, target }, unasked, answers)
    answers.push(...fresh)
    if (unasked.length > 0 && fresh.length === 0) {
      await sleep(Math.min(2_000, heartbeatMs / 4), { summary: 'waiting for answers' })
    }
    const waitMs = Math.max(0, deadline - Date.now())
    const round = await surveying.awaitAnswers({ task, nonce, target, answers, waitMs })
    const { report, met } = round
    if (report !== null) {
      if (rotation !== null && report.ready)
        await deciding.recordMet({ task, rotation, nonce, met })
      return report
    }
    unasked = round.unasked
  }
}

/** Asks these hosts on their own queues. One without a live worker is reported missing elsewhere. */
async function askWorkers(
  question: VerifyInput,
  nodes: readonly string[],
  answers: readonly WorkerAnswer[],
): Promise<WorkerAnswer[]> {
  const { install, task, target } = question
  const isHeard = (boot: string) => answers.some((answer) => answer.boot === boot)
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
