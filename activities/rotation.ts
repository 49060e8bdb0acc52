import { KeyturnError } from '../contracts/errors.ts'
import type {
  Counters,
  Preflight,
  RotateInput,
  RotateResult,
  RotationPhase,
} from '../contracts/rotation.ts'
import { provenInAll } from '../protocol/proven-in-all.ts'
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

    /** Not promoted: a live process has no proof of B yet, or verify never met it; the reason names it, and the rotation asks it. */
    async promote(input: {
      rotation: string
      from: number
      to: number
      epoch: number
      /** `node/boot` of each process that verify has met. */
      verified: string[]
    }): Promise<{ promoted: boolean; reason: string }> {
      const { to, verified, ...promotion } = input
      try {
        await promote(store, {
          ...promotion,
          to,
          proven: (heartbeats, now) => {
            const facts = heartbeats.map((row) => heartbeatFact(row, now))
            return provenInAll(facts, to, verified)
          },
        })
      } catch (error) {
        if (!(error instanceof KeyturnError) || error.code !== 'not-ready') throw error
        return { promoted: false, reason: error.message }
      }
      return { promoted: true, reason: '' }
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
