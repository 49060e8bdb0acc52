import type { ShardPlan } from '../contracts/rotation.ts'
import type { CollectionConfig } from '../contracts/settings.ts'
import { layoutIn } from '../envelope/layout.ts'
import { countVersions, splitPoints } from '../store/census.ts'
import { quarantineOdd } from '../store/odd-quarantine.ts'
import { insertShards, readPass, type NewShard } from '../store/rewrap-shards.ts'
import type { Store } from '../store/store.ts'

/** `auto`: envelopes of a shard, so that a lost worker's part is small and a fast worker can take more of them. */
const shardSize = 25_000
/** `auto`: as many shards as keep two workers with a pool each busy, once a field is worth splitting at all. */
const wantedShards = 4
const worthSplitting = 1_000
/** Each shard is a child workflow: more of them cost Temporal more than they give. */
const mostShards = 64

export interface ShardPlanOptions {
  rotation: string
  collections: readonly CollectionConfig[]
  /** The version that is swept. */
  version: number
  /** Of each field. */
  shards: number | 'auto'
  /** 0 for the sweep, then 1, 2, … for each walk of the tail: shards are named `<pass>-<number>`. */
  pass?: number
}

/**
 * Cuts each field's envelopes of a version into ranges of `_id` of nearly equal size and inserts a document for each.
 * Fields without such envelopes get none; odd envelopes go into quarantine first, since no version's walk meets them all.
 * Repeating it with the same pass answers what was inserted first, since ranges
 * cut anew would overlap them. Throws `no-rotation` when the rotation is over.
 */
export async function planShards(store: Store, options: ShardPlanOptions): Promise<ShardPlan[]> {
  const { rotation, collections, pass = 0 } = options
  await quarantineOdd(store, collections, rotation)
  const there = await readPass(store, rotation, pass)
  if (there.length > 0) {
    return there.map(({ _id, collection, field }) => ({ shard: _id.shard, collection, field }))
  }
  const ranges = await cutRanges(store, options)
  const shards = ranges.map((range, index) => ({ shard: `${pass}-${index}`, ...range }))
  await insertShards(store, rotation, shards)
  return shards.map(({ shard, collection, field }) => ({ shard, collection, field }))
}

async function cutRanges(
  store: Store,
  { collections, version, shards: wanted }: ShardPlanOptions,
): Promise<Omit<NewShard, 'shard'>[]> {
  const ranges: Omit<NewShard, 'shard'>[] = []
  const { byField } = await countVersions(store, collections)
  for (const { collection, field, envelopes, version: found } of byField) {
    if (found !== version || envelopes === 0) continue
    const shards = wanted === 'auto' ? shardsFor(envelopes) : wanted
    const points = await splitPoints(store, {
      ...{ collection, field, version, shards },
      layout: layoutIn(collections, collection, field),
    })
    for (const [index, min] of [null, ...points].entries()) {
      ranges.push({ collection, field, min, max: points[index] ?? null })
    }
  }
  return ranges
}

/** How many shards a field of so many envelopes is cut into, from 1 to 64. */
export function shardsFor(envelopes: number): number {
  const bySize = Math.ceil(envelopes / shardSize)
  const forWorkers = Math.min(wantedShards, Math.ceil(envelopes / worthSplitting))
  return Math.max(1, Math.min(mostShards, Math.max(bySize, forWorkers)))
}
