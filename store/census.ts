import type { CollectionConfig } from '../contracts/settings.ts'
import { keyturnLayout, layoutIn, type Layout } from '../envelope/layout.ts'
import type { Bound } from './documents.ts'
import { ownerBounds } from './chunk-bounds.ts'
import { idBehind } from './envelope-pages.ts'
import { readQuarantine, standsThere } from './quarantined-bytes.ts'
import { atOneMoment, type Moment } from './snapshot.ts'
import type { Store } from './store.ts'

/** The count of envelopes by version: raw, so what is in quarantine is counted, unless a function says otherwise. */

export interface FieldCount {
  collection: string
  field: string
  version: number
  envelopes: number
}

export interface VersionCounts {
  /** Versions without an envelope are left out. */
  byVersion: Record<number, number>
  byField: FieldCount[]
}

/** Counts all envelopes of these collections. A value that is no integer is no version, and is not counted. */
export async function countVersions(
  store: Store,
  collections: readonly CollectionConfig[],
): Promise<VersionCounts> {
  const byField: FieldCount[] = []
  const byVersion: Record<number, number> = {}
  for (const { collection, field, layout } of fieldsOf(collections)) {
    const path = layout.version
    const groups = await store.db
      .collection(collection)
      .aggregate<{ _id: number; envelopes: number }>([
        { $match: { [path]: { $gte: -Infinity } } },
        { $group: { _id: `$${path}`, envelopes: { $sum: 1 } } },
        { $sort: { _id: 1 } },
      ])
      .toArray()
    for (const { _id: version, envelopes } of groups) {
      if (!Number.isInteger(version)) continue
      byField.push({ collection, field, version, envelopes })
      byVersion[version] = (byVersion[version] ?? 0) + envelopes
    }
  }
  return { byVersion, byField }
}

/** The raw count of one version. */
export async function countVersion(
  store: Store,
  collections: readonly CollectionConfig[],
  version: number,
  moment?: Moment,
): Promise<number> {
  let envelopes = 0
  for (const { collection, layout } of fieldsOf(collections)) {
    envelopes += await store.db
      .collection(collection)
      .countDocuments({ [layout.version]: version }, moment ?? {})
  }
  return envelopes
}

/**
 * Envelopes of a version that a rotation still has to deal with: the raw count without those whose very bytes are in
 * quarantine, both read at one moment. What its owner has repaired or put back is counted again.
 */
export async function remainingOf(
  store: Store,
  collections: readonly CollectionConfig[],
  version: number,
): Promise<number> {
  return atOneMoment(store, async (moment) => {
    const raw = await countVersion(store, collections, version, moment)
    if (raw === 0) return 0
    const names = new Set(
      fieldsOf(collections).map(({ collection, field }) => `${collection}/${field}`),
    )
    const rows = await readQuarantine(store, { kek_version: version }, moment)
    const ours = rows.filter(({ doc }) => names.has(`${doc._id.collection}/${doc._id.field}`))
    const standing = await standsThere(store, ours, moment)
    return raw - standing.filter(Boolean).length
  })
}

/**
 * Cuts a field's envelopes of a version into `shards` ranges of nearly equal size: the inner bounds, in order. Fewer, or
 * none, when there are not enough envelopes. On a sharded cluster they are cut along its chunks too, so that there are more.
 */
export async function splitPoints(
  store: Store,
  options: Omit<Parameters<typeof idBehind>[1], 'from' | 'until' | 'skip'> & { shards: number },
): Promise<Bound[]> {
  const { collection, field, version, shards } = options
  const path = (options.layout ?? keyturnLayout(field)).version
  const envelopes = await store.db.collection(collection).countDocuments({ [path]: version })
  const size = Math.ceil(envelopes / shards)
  const points: Bound[] = []
  if (size === 0) return points
  const owners = await ownerBounds(store, collection)
  const most = owners.length + shards - 1
  for (const [index, begin] of [null, ...owners].entries()) {
    const until = owners[index] ?? null
    const behind = (from: Bound | null, skip: number) =>
      idBehind(store, { ...options, from, until, skip })
    if (begin !== null && (await behind(begin, 0)) !== null) points.push(begin)
    for (let next = begin; points.length < most;) {
      next = await behind(next, size)
      if (next === null) break
      points.push(next)
    }
  }
  return points
}

function fieldsOf(
  collections: readonly CollectionConfig[],
): { collection: string; field: string; layout: Layout }[] {
  return collections.flatMap(({ name, envelopes }) =>
    envelopes.map((field) => {
      return { collection: name, field, layout: layoutIn(collections, name, field) }
    }),
  )
}
