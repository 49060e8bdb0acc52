import type { CollectionConfig } from '../contracts/settings.ts'
import type { Bound } from './documents.ts'
import { ownerBounds } from './chunk-bounds.ts'
import { countedThrough } from './collections.ts'
import { countField, fieldsOf, scanField } from './field-census.ts'
import { countKnownOdd } from './odd-envelopes.ts'
import { readQuarantine, areUnchanged } from './quarantined-bytes.ts'
import { inOneSnapshot, type SnapshotOptions } from './snapshot.ts'
import type { Store } from './store.ts'
import { idBehind, type SkippedRange } from './version-walk.ts'

/** Envelopes counted by version. Counts are raw: they include quarantined envelopes, unless a function excludes them. */

/** In one snapshot, and without views that cannot be counted. */
async function countedInSnapshot<T>(
  store: Store,
  collections: readonly CollectionConfig[],
  count: (kept: readonly CollectionConfig[], snapshot: SnapshotOptions) => Promise<T>,
): Promise<T> {
  return countedThrough(store, collections, (kept) =>
    inOneSnapshot(store, (snapshot) => count(kept, snapshot)),
  )
}

export interface FieldCount {
  collection: string
  field: string
  version: number
  envelopes: number
}

export interface VersionCounts {
  /** Without versions that have no envelope. */
  byVersion: Record<number, number>
  byField: FieldCount[]
  /** Envelopes that cannot be placed under a version (presence.ts). */
  odd: number
  /** Without fields that have no odd envelope. */
  oddByField: OddCount[]
}

export interface OddCount {
  collection: string
  field: string
  envelopes: number
}

/** Counts all envelopes of these collections by two indexes, in one snapshot. */
export async function countVersions(
  store: Store,
  collections: readonly CollectionConfig[],
  snapshot?: SnapshotOptions,
): Promise<VersionCounts> {
  if (snapshot === undefined) {
    return countedInSnapshot(store, collections, (kept, taken) => countVersions(store, kept, taken))
  }
  const counts: VersionCounts = { byVersion: {}, byField: [], odd: 0, oddByField: [] }
  for (const place of fieldsOf(collections)) {
    const { collection, field } = place
    const { versions, odd } = await countField(store, place, snapshot)
    for (const [version, envelopes] of [...versions].sort(([one], [other]) => one - other)) {
      if (envelopes === 0) continue
      counts.byField.push({ collection, field, version, envelopes })
      counts.byVersion[version] = (counts.byVersion[version] ?? 0) + envelopes
    }
    counts.odd += odd
    if (odd > 0) counts.oddByField.push({ collection, field, envelopes: odd })
  }
  return counts
}

/** The raw count of one version. */
export async function countVersion(
  store: Store,
  collections: readonly CollectionConfig[],
  version: number,
): Promise<number> {
  return countedInSnapshot(store, collections, async (kept, snapshot) => {
    let envelopes = 0
    for (const place of fieldsOf(kept)) {
      const { versions } = await countField(store, place, snapshot, version)
      envelopes += versions.get(version) ?? 0
    }
    return envelopes
  })
}

/** Envelopes outside quarantine: of a version, and odd ones. */
export interface Left {
  under: number
  odd: number
}

/**
 * Envelopes that a rotation from a version still has to process: the raw counts without those whose exact bytes are in
 * quarantine, in one snapshot. Repaired or restored envelopes are counted again.
 */
export async function leftOf(
  store: Store,
  collections: readonly CollectionConfig[],
  version: number,
): Promise<Left> {
  return countedInSnapshot(store, collections, async (kept, snapshot) => {
    const left: Left = { under: 0, odd: 0 }
    for (const place of fieldsOf(kept)) {
      const { versions, odd } = await countField(store, place, snapshot, version)
      left.under += versions.get(version) ?? 0
      if (odd > 0) left.odd += Math.max(0, odd - (await countKnownOdd(store, place, snapshot)))
    }
    if (left.under > 0) left.under -= await countUnchanged(store, kept, version, snapshot)
    return left
  })
}

/** The sum of `leftOf`: it must be 0 when a rotation ends, or a version is removed. */
export async function remainingOf(
  store: Store,
  collections: readonly CollectionConfig[],
  version: number,
): Promise<number> {
  const { under, odd } = await leftOf(store, collections, version)
  return under + odd
}

async function countUnchanged(
  store: Store,
  collections: readonly CollectionConfig[],
  version: number,
  snapshot: SnapshotOptions,
): Promise<number> {
  const names = new Set(
    fieldsOf(collections).map(({ collection, field }) => `${collection}/${field}`),
  )
  const rows = await readQuarantine(store, { kek_version: version }, snapshot)
  const ours = rows.filter(({ doc }) => names.has(`${doc._id.collection}/${doc._id.field}`))
  return (await areUnchanged(store, ours, snapshot)).filter(Boolean).length
}

/** A version of a field for which two ways of counting differ. */
export interface CensusDifference {
  collection: string
  field: string
  version: number | 'odd'
  byIndex: number
  byScan: number
}

/**
 * Compares the census by indexes with an independent count: all records in natural order by the definition alone, without
 * an index, in one snapshot. Returns the differences. It reads the whole collections.
 */
export async function censusDifferences(
  store: Store,
  collections: readonly CollectionConfig[],
): Promise<CensusDifference[]> {
  return countedInSnapshot(store, collections, async (kept, snapshot) => {
    const differences: CensusDifference[] = []
    for (const place of fieldsOf(kept)) {
      const { versions, odd } = await countField(store, place, snapshot)
      const byIndex = new Map<number | 'odd', number>([...versions, ['odd', odd]])
      const byScan = await scanField(store, place, snapshot)
      for (const version of new Set([...byIndex.keys(), ...byScan.keys()])) {
        const counts = { byIndex: byIndex.get(version) ?? 0, byScan: byScan.get(version) ?? 0 }
        if (counts.byIndex === counts.byScan) continue
        differences.push({ collection: place.collection, field: place.field, version, ...counts })
      }
    }
    return differences
  })
}

/**
 * Splits a field's envelopes of a version into `ranges` ranges of nearly equal size, and returns the inner bounds in order:
 * fewer, or none, if there are not enough envelopes. On a sharded cluster it also splits at chunks of another shard, so
 * there are more.
 */
export async function splitPoints(
  store: Store,
  options: Pick<SkippedRange, 'collection' | 'layout' | 'version'> & { ranges: number },
): Promise<Bound[]> {
  const { ranges, ...place } = options
  const { collection, layout, version } = place
  const records = store.db.collection(collection)
  const envelopes = await records.countDocuments({ [layout.version]: version })
  const size = Math.ceil(envelopes / ranges)
  const points: Bound[] = []
  if (size === 0) return points
  const owners = await ownerBounds(store, collection)
  const most = owners.length + ranges - 1
  for (const [index, begin] of [null, ...owners].entries()) {
    const until = owners[index] ?? null
    const behind = (from: Bound | null, skip: number) =>
      idBehind(store, { ...place, from, until, skip })
    if (begin !== null && (await behind(begin, 0)) !== null) points.push(begin)
    for (let next = begin; points.length < most;) {
      next = await behind(next, size)
      if (next === null) break
      points.push(next)
    }
  }
  return points
}
