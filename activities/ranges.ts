import { KeyturnError } from '../contracts/errors.ts'
import type { RangePlan } from '../contracts/rewrap.ts'
import { requireCollections } from '../store/collections.ts'
import { readPass } from '../store/rewrap-ranges.ts'
import { planRanges } from '../sweep/range-plan.ts'
import type { ControlDeps } from './deps.ts'
import { heartbeating } from './heartbeating.ts'
import { requirePromoted, requireRunning } from './own-rotation.ts'
import { requireSettings } from './settings.ts'

/** Ranges in one result: enough work for a whole window, and far below the limit of a payload. */
const handedOutAtOnce = 100

/** The plan of a sweep is in its range documents: one step makes them, the other returns them. */
export function rangeActivities({ store }: ControlDeps) {
  return {
    /** Cuts what is to be swept in one pass into ranges; `nextRanges` hands them out. */
    planRanges: async (input: { rotation: string; pass: number }): Promise<{ ranges: number }> =>
      await heartbeating(async () => {
        const { collections } = await requireSettings(store)
        await requireCollections(store, collections)
        const { _id: rotation, from, way } = await requirePromoted(store, input.rotation)
        const pass = passOf(input.pass)
        const ranges = pass === 0 ? way.shards : 1
        const planned = await planRanges(store, {
          rotation,
          collections,
          ranges,
          version: from,
          pass,
        })
        return { ranges: planned.length }
      }),

    /** The ranges of a pass in the order of their names, behind `after`; none when all were handed out. */
    nextRanges: async (input: {
      rotation: string
      pass: number
      after: string | null
    }): Promise<RangePlan[]> => {
      const { after } = input
      const { _id: rotation } = await requireRunning(store, input.rotation)
      const pass = passOf(input.pass)
      if (after !== null && typeof after !== 'string') throw new KeyturnError('usage', 'no range')
      const ranges = await readPass(store, rotation, pass, { after, limit: handedOutAtOnce })
      return ranges.map(({ _id, collection, field }) => ({ range: _id.shard, collection, field }))
    },
  }
}

function passOf(pass: unknown): number {
  if (Number.isSafeInteger(pass) && (pass as number) >= 0) return pass as number
  throw new KeyturnError('usage', `pass "${String(pass)}" is no number`)
}
