import type { RangePlan } from '../contracts/rewrap.ts'
import type { CollectionConfig } from '../contracts/settings.ts'
import { layoutIn } from '../envelope/layout.ts'
import { countVersions, splitPoints } from '../store/census.ts'
import { quarantineOdd } from '../store/odd-quarantine.ts'
import { insertRanges, readPass, type NewRange } from '../store/rewrap-ranges.ts'
import type { Store } from '../store/store.ts'

/** `auto`: envelopes in a range. Small ranges lose little with a worker, and let a fast worker take more. */
const rangeSize = 25_000
/** `auto`: enough ranges to keep two workers busy, if the field has enough envelopes to split. */
const wantedRanges = 4
const worthSplitting = 1_000
/** Each range is a child workflow: more of them cost Temporal more than they gain. */
const mostRanges = 64

export interface RangePlanOptions {
  rotation: string
  collections: readonly CollectionConfig[]
  /** The version that is swept. */
  version: number
  /** Of each field. */
  ranges: number | 'auto'
  /** 0 for the sweep, then 1, 2, … for each walk of the tail: ranges are named `<pass>-<number>`. */
  pass?: number
}

/**
 * Cuts each field's envelopes of a version into ranges of `_id` of nearly equal size and inserts a document for each.
 * Fields without such envelopes get none. Odd envelopes go into quarantine first, since no version's walk finds them all.
 * Repeated with the same pass, it returns the ranges of the first call, since new ones would overlap them. Throws
 * `no-rotation` when the rotation has ended.
 */
export async function planRanges(store: Store, options: RangePlanOptions): Promise<RangePlan[]> {
  const { rotation, collections, pass = 0 } = options
  await quarantineOdd(store, collections, rotation)
  const there = await readPass(store, rotation, pass)
  if (there.length > 0) {
    return there.map(({ _id, collection, field }) => ({ range: _id.shard, collection, field }))
  }
  const cut = await cutRanges(store, options)
  const ranges = cut.map((bounds, index) => ({ range: `${pass}-${index}`, ...bounds }))
  await insertRanges(store, rotation, ranges)
  return ranges.map(({ range, collection, field }) => ({ range, collection, field }))
}

async function cutRanges(
  store: Store,
  { collections, version, ranges: wanted }: RangePlanOptions,
): Promise<Omit<NewRange, 'range'>[]> {
  const ranges: Omit<NewRange, 'range'>[] = []
  const { byField } = await countVersions(store, collections)
  for (const { collection, field, envelopes, version: found } of byField) {
    if (found !== version || envelopes === 0) continue
    const count = wanted === 'auto' ? rangesFor(envelopes) : wanted
    const points = await splitPoints(store, {
      collection,
      layout: layoutIn(collections, collection, field),
      version,
      ranges: count,
    })
    for (const [index, min] of [null, ...points].entries()) {
      ranges.push({ collection, field, min, max: points[index] ?? null })
    }
  }
  return ranges
}

/** How many ranges a field of so many envelopes is cut into, from 1 to 64. */
export function rangesFor(envelopes: number): number {
  const bySize = Math.ceil(envelopes / rangeSize)
  const forWorkers = Math.min(wantedRanges, Math.ceil(envelopes / worthSplitting))
  return Math.max(1, Math.min(mostRanges, Math.max(bySize, forWorkers)))
}
