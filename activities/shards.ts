import { KeyturnError } from '../contracts/errors.ts'
import type { ShardPlan } from '../contracts/rotation.ts'
import { requireCollections } from '../store/collections.ts'
import { readPass } from '../store/rewrap-shards.ts'
import { planShards } from '../sweep/shard-plan.ts'
import type { ControlDeps } from './deps.ts'
import { heartbeating } from './heartbeating.ts'
import { requirePromoted, requireRunning } from './own-rotation.ts'
import { requireSettings } from './settings.ts'

/** Shards of one answer: work for a while for a whole window, and far below the size of a payload. */
const handedOutAtOnce = 100

/** The plan of a sweep is its shard documents: made by one step, handed out by the other. */
export function shardActivities({ store }: ControlDeps) {
  return {
    /** Cuts what is to be swept in one pass into shards; `nextShards` hands them out. */
    planShards: async (input: { rotation: string; pass: number }): Promise<{ shards: number }> =>
      await heartbeating(async () => {
        const { collections } = await requireSettings(store)
        await requireCollections(store, collections)
        const { _id: rotation, from, way } = await requirePromoted(store, input.rotation)
        const pass = passOf(input.pass)
        const shards = pass === 0 ? way.shards : 1
        const planned = await planShards(store, {
          ...{ rotation, collections, shards },
          ...{ version: from, pass },
        })
        return { shards: planned.length }
      }),

    /** The shards of a pass in the order of their names, behind `after`; none when all were handed out. */
    nextShards: async (input: {
      rotation: string
      pass: number
      after: string | null
    }): Promise<ShardPlan[]> => {
      const { after } = input
      const { _id: rotation } = await requireRunning(store, input.rotation)
      const pass = passOf(input.pass)
      if (after !== null && typeof after !== 'string') throw new KeyturnError('usage', 'no shard')
      const shards = await readPass(store, rotation, pass, { after, limit: handedOutAtOnce })
      return shards.map(({ _id, collection, field }) => ({ shard: _id.shard, collection, field }))
    },
  }
}

function passOf(pass: unknown): number {
  if (Number.isSafeInteger(pass) && (pass as number) >= 0) return pass as number
  throw new KeyturnError('usage', `pass "${String(pass)}" is no number`)
}
