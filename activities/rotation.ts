import { Context } from '@temporalio/activity'
import { KeyturnError } from '../contracts/errors.ts'
import type { Counters, Preflight, RotateInput, RotationPhase } from '../contracts/rotation.ts'
import { isQuestionOld, oldQuestion, provenInAll } from '../protocol/proven-in-all.ts'
import { countingNonces } from '../protocol/proof-question.ts'
import { heartbeatFact } from '../protocol/facts.ts'
import { remainingOf } from '../store/census.ts'
import { requireCollections } from '../store/collections.ts'
import { promote } from '../store/promote.ts'
import { recordSample, setPhase } from '../store/rotation-progress.ts'
import { sumCounters } from '../store/rewrap-ranges.ts'
import type { Store } from '../store/store.ts'
import type { ControlDeps } from './deps.ts'
import { finishRotation } from './finish-rotation.ts'
import type { FinishAnswer, FinishInput } from './finish-rotation.ts'
import { heartbeating } from './heartbeating.ts'
import { requireOwn, requirePromoted } from './own-rotation.ts'
import { runPreflight } from './preflight.ts'
import { requireSettings } from './settings.ts'

/** Phases that the workflow records with `recordPhase`. */
const recordable: ReadonlySet<RotationPhase> = new Set(['verify', 'rewrap', 'settle'])

export function rotationActivities(deps: ControlDeps) {
  const { store } = deps
  return {
    preflight: async (input: RotateInput): Promise<Preflight> =>
      await heartbeating(async () => await runPreflight(deps, input)),

    /** Forward only: a run that was reset to an earlier phase does not change the row back. */
    async recordPhase(input: { rotation: string; phase: RotationPhase }): Promise<void> {
      const { rotation, phase } = input
      await requireOwn(store, rotation)
      // Other steps write the other phases.
      if (!recordable.has(phase))
        throw new KeyturnError('usage', `phase "${phase}" is written by another step`)
      if (phase !== 'verify') await requirePromoted(store, rotation)
      await setPhase(store, rotation, phase)
    },

    /**
     * Switches to B, by compare-and-set on the epoch that preflight saw. Not promoted when a live process has not answered
     * this rotation's question, was not seen by verify, or the question is too old (`isOld`): the reason names it, and the
     * rotation asks again. Versions, epoch, question and processes are read from its row.
     */
    async promote(input: {
      rotation: string
    }): Promise<{ promoted: boolean; isOld: boolean; reason: string }> {
      const { _id: rotation, from, to, seen } = await requireOwn(store, input.rotation)
      if (seen === null) {
        throw new KeyturnError('no-rotation', `rotation "${rotation}" has not passed preflight`)
      }
      let isOld = false
      if (!seen.promote) return { promoted: true, isOld, reason: '' }
      const { leaseMs } = (await requireSettings(store)).fleet
      try {
        await promote(store, {
          rotation,
          from,
          to,
          epoch: seen.epoch,
          worker: deps.node,
          proven: ({ heartbeats, rotation: row, questions, now }) => {
            const question = row.question ?? null
            const ageMs = question === null ? null : now.getTime() - question.asked_at.getTime()
            isOld = isQuestionOld(ageMs, leaseMs)
            if (isOld || question === null) return oldQuestion(to)
            const facts = heartbeats.map((one) => heartbeatFact(one, now))
            return provenInAll(facts, to, {
              nonces: countingNonces(questions, question.nonce, to),
              met: row.met ?? [],
            })
          },
        })
      } catch (error) {
        if (!(error instanceof KeyturnError) || error.code !== 'not-ready') throw error
        return { promoted: false, isOld, reason: error.message }
      }
      return { promoted: true, isOld, reason: '' }
    },

    readCounters: async (input: { rotation: string }): Promise<Counters> =>
      await readCounters(store, input),

    /** The census of a version, without envelopes in quarantine. */
    readRemaining: async ({ version }: { version: number }): Promise<{ remaining: number }> =>
      await heartbeating(async () => {
        const { collections } = await requireSettings(store)
        await requireCollections(store, collections)
        return { remaining: await remainingOf(store, collections, version) }
      }),

    /** Clears marks, closes ranges, records and audits, however the rotation ends. */
    finishRotation: async (input: FinishInput): Promise<FinishAnswer> =>
      await heartbeating(async (signal) => await finishRotation(deps, input, signal)),
  }
}

/** Also adds a sample to the rotation's record. */
async function readCounters(store: Store, { rotation }: { rotation: string }): Promise<Counters> {
  const counters = await sumCounters(store, rotation)
  const { workflowId = '' } = Context.current().info.workflowExecution ?? {}
  if (typeof rotation === 'string') await recordSample(store, { rotation, workflowId }, counters)
  return counters
}
