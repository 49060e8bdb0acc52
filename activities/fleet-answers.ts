import { KeyturnError } from '../contracts/errors.ts'
import type { ReadinessReport } from '../contracts/fleet.ts'
import { isLive } from '../protocol/facts.ts'
import { countingNonces, hasAnswered } from '../protocol/proof-question.ts'
import {
  fleetReadiness,
  isCrossChecked,
  isReady,
  mayStillAnswer,
  unansweredWorkers,
  type WorkerAnswer,
} from '../protocol/readiness.ts'
import { askForProof } from '../store/proof-question.ts'
import { setMet, setQuestion } from '../store/rotation-progress.ts'
import type { ControlDeps } from './deps.ts'
import { readFleet, shortened, timingsOf, type FleetSnapshot } from './fleet.ts'
import { heartbeating } from './heartbeating.ts'
import { requireOwn } from './own-rotation.ts'
import { pause } from './pause.ts'

/** A fleet that was asked for proofs. */
export interface AskedFleet {
  /** Hosts with a live worker, which are also asked on their own queues. */
  workers: string[]
  heartbeatMs: number
  leaseMs: number
}

/** A question, and what workers have answered on their hosts' queues. */
export interface AskedQuestion {
  nonce: string
  target: number
  answers: readonly WorkerAnswer[]
}

/** What a look at the fleet found. */
export interface AnswerRound {
  /** Null as long as waiting may change it. */
  report: ReadinessReport | null
  /** The processes that were live then, as NODE/BOOT; empty without a report. */
  met: string[]
  /** Hosts with a live worker that has not answered on its host's queue. */
  unasked: string[]
}

/** How often a round reads the fleet, in ms. */
const lookEveryMs = 500
const longestNonce = 100
const lastVersion = 2 ** 31 - 1

export function fleetAnswerActivities(deps: ControlDeps) {
  const { store } = deps
  return {
    /**
     * Asks every process for a proof of a version, and records the question in the rotation's row. A repeated call with the
     * same nonce asks only once.
     */
    async askFleet(input: {
      nonce: string
      target: number
      /** Null when a person asks. */
      rotation: string | null
    }): Promise<AskedFleet> {
      const { rotation } = input
      const own = rotation === null ? null : await requireOwn(store, rotation)
      const nonce = checkedNonce(input.nonce)
      const target = own?.to ?? checkedTarget(input.target)
      const { heartbeatMs, leaseMs } = await timingsOf(deps)
      const asked_at = await askForProof(store, { nonce, target, openMs: 2 * leaseMs })
      if (own !== null) await setQuestion(store, own._id, { nonce, asked_at })
      const { heartbeats } = await readFleet(deps)
      return { workers: unansweredWorkers(heartbeats, []), heartbeatMs, leaseMs }
    },

    /**
     * Watches the fleet until the report is final, `waitMs` are over, or a worker lives that has not answered on its host's
     * queue. So the history holds the report once, however large the fleet is and however long a process is awaited.
     */
    awaitAnswers: async ({
      waitMs,
      ...question
    }: AskedQuestion & { waitMs: number }): Promise<AnswerRound> =>
      await heartbeating(async (signal, tell) => {
        checkedNonce(question.nonce)
        checkedTarget(question.target)
        const giveUpAt = performance.now() + waitMs
        for (;;) {
          const fleet = await readFleet(deps)
          const { report, isFinal } = reportOf(fleet, question)
          if (isFinal || performance.now() >= giveUpAt) {
            const met = fleet.heartbeats.filter(isLive).map(({ id }) => id)
            return { report, met, unasked: [] }
          }
          const unasked = unansweredWorkers(fleet.heartbeats, question.answers)
          if (unasked.length > 0) return { report: null, met: [], unasked }
          tell({ awaiting: shortened(unproven(report)) })
          await pause(lookEveryMs, signal)
        }
      }),

    /**
     * Notes in the rotation's row who has answered its question: of the processes that its workflow names, those that
     * are live now and repeat the nonce. Promote requires it.
     */
    async recordMet(input: { rotation: string; nonce: string; met: string[] }): Promise<void> {
      const { _id: rotation, to } = await requireOwn(store, input.rotation)
      const nonce = checkedNonce(input.nonce)
      const claimed: unknown = input.met
      if (!Array.isArray(claimed))
        throw new KeyturnError('usage', 'the answered processes are no list')
      const { heartbeats, questions } = await readFleet(deps)
      const nonces = countingNonces(questions, nonce, to)
      const met = heartbeats
        .filter((one) => hasAnswered(one, to, nonces) && claimed.includes(one.id))
        .map(({ id }) => id)
      await setMet(store, rotation, { nonce, met })
    },
  }
}

function reportOf(
  fleet: FleetSnapshot,
  { nonce, target, answers }: AskedQuestion,
): { report: ReadinessReport; isFinal: boolean } {
  const nonces = countingNonces(fleet.questions, nonce, target)
  const nodes = fleetReadiness({ ...fleet, target, nonces, answers })
  const ready = isReady(nodes)
  return {
    report: { target, ready, nodes, crossChecked: isCrossChecked(answers) },
    isFinal: ready || !mayStillAnswer(nodes, { ...fleet, answers }, fleet.heartbeatMs),
  }
}

/** One line for each process that is not ready. */
function unproven({ target, nodes }: ReadinessReport): string[] {
  return nodes
    .filter(({ ready }) => !ready)
    .map(({ node, role, pid, reason }) => {
      const name = role === null ? node : `${node} (${role}, pid ${pid ?? 'unknown'})`
      return `${name} has not proven v${target}: ${reason ?? 'unknown'}`
    })
}

/** A nonce as it may become a row. */
function checkedNonce(nonce: unknown): string {
  if (typeof nonce === 'string' && nonce !== '' && nonce.length <= longestNonce) return nonce
  throw new KeyturnError('usage', 'a question to the fleet has no nonce')
}

function checkedTarget(target: unknown): number {
  if (Number.isInteger(target) && (target as number) >= 1 && (target as number) <= lastVersion)
    return target as number
  throw new KeyturnError('usage', `a proof was requested of version "${String(target)}"`)
}
