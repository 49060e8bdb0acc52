import { KeyturnError } from '../contracts/errors.ts'
import type {
  Counters,
  Preflight,
  RotateInput,
  RotateResult,
  RotationPhase,
} from '../contracts/rotation.ts'
import { isQuestionOld, oldQuestion, provenInAll } from '../protocol/proven-in-all.ts'
import { countingNonces } from '../protocol/proof-question.ts'
import { heartbeatFact } from '../protocol/facts.ts'
import { remainingOf } from '../store/census.ts'
import { promote } from '../store/promote.ts'
import { setPhase, sumCounters } from '../store/rotations.ts'
import type { ControlDeps } from './deps.ts'
import { finishRotation } from './finish-rotation.ts'
import type { FinishInput } from './finish-rotation.ts'
import { heartbeating } from './heartbeating.ts'
import { runPreflight } from './preflight.ts'
import { requireSettings } from './settings.ts'

export function rotationActivities(deps: ControlDeps) {
  const { store } = deps
  return {
    preflight: async (input: RotateInput): Promise<Preflight> =>
      await heartbeating(async () => await runPreflight(deps, input)),

    async recordPhase(input: { rotation: string; phase: RotationPhase }): Promise<void> {
      if (await setPhase(store, input.rotation, input.phase)) return
      throw new KeyturnError('no-rotation', `rotation "${input.rotation}" has ended`)
    },

    /**
     * Not promoted: a live process has not answered this rotation's question, or verify never met it, or the question is too
     * old by now; the reason names it, and the rotation asks again. What was asked and who was met is read from its row.
     */
    async promote(input: {
      rotation: string
      from: number
      to: number
      epoch: number
    }): Promise<{ promoted: boolean; isOld: boolean; reason: string }> {
      const { leaseMs } = (await requireSettings(store)).fleet
      let isOld = false
      try {
        await promote(store, {
          ...input,
          proven: ({ heartbeats, rotation, questions, now }) => {
            const question = rotation.question ?? null
            const ageMs = question === null ? null : now.getTime() - question.asked_at.getTime()
            isOld = isQuestionOld(ageMs, leaseMs)
            if (isOld || question === null) return oldQuestion(input.to)
            const facts = heartbeats.map((row) => heartbeatFact(row, now))
            return provenInAll(facts, input.to, {
              nonces: countingNonces(questions, question.nonce, input.to),
              met: rotation.met ?? [],
            })
          },
        })
      } catch (error) {
        if (!(error instanceof KeyturnError) || error.code !== 'not-ready') throw error
        return { promoted: false, isOld, reason: error.message }
      }
      return { promoted: true, isOld, reason: '' }
    },

    readCounters: async ({ rotation }: { rotation: string }): Promise<Counters> =>
      await sumCounters(store, rotation),

    /** The census of a version without what is in quarantine. */
    readRemaining: async ({ version }: { version: number }): Promise<{ remaining: number }> =>
      await heartbeating(async () => {
        const { collections } = await requireSettings(store)
        return { remaining: await remainingOf(store, collections, version) }
      }),

    /** Marks off, shards closed, record, audit: for every way in which a rotation can end. */
    finishRotation: async (input: FinishInput): Promise<RotateResult> =>
      await heartbeating(async () => await finishRotation(deps, input)),
  }
}
