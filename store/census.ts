import type { CollectionConfig } from '../contracts/settings.ts'
import { keyturnLayout } from '../envelope/layout.ts'
import type { Bound } from './documents.ts'
import { ownerBounds } from './chunk-bounds.ts'
import { idBehind } from './envelope-pages.ts'
import { countField, fieldsOf, scanField } from './field-census.ts'
import { oddStanding } from './odd-envelopes.ts'
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
  /** Envelopes that cannot be placed under a version (presence.ts). */
  odd: number
  /** Fields without an odd envelope are left out. */
  oddByField: OddCount[]
}

export interface OddCount {
  collection: string
  field: string
  envelopes: number
}

/** Counts all envelopes of these collections, by two indexes and all at one moment. */
export async function countVersions(
  store: Store,
  collections: readonly CollectionConfig[],
  moment?: Moment,
): Promise<VersionCounts> {
  if (moment === undefined) {
    return atOneMoment(store, async (taken) => countVersions(store, collections, taken))
  }
  const counts: VersionCounts = { byVersion: {}, byField: [], odd: 0, oddByField: [] }
  for (const place of fieldsOf(collections)) {
    const { collection, field } = place
    const { versions, odd } = await countField(store, place, moment)
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
  return atOneMoment(store, async (moment) => {
    let envelopes = 0
    for (const place of fieldsOf(collections)) {
      const { versions } = await countField(store, place, moment, version)
      envelopes += versions.get(version) ?? 0
    }
    return envelopes
  })
}

/** What is not in quarantine yet, of a version and of what is odd. */
export interface Left {
  under: number
  odd: number
}

/**
 * Envelopes that a rotation from a version still has to deal with: the raw counts without those whose very bytes are in
 * quarantine, all read at one moment. What its owner has repaired or put back is counted again.
 */
export async function leftOf(
  store: Store,
  collections: readonly CollectionConfig[],
  version: number,
): Promise<Left> {
  return atOneMoment(store, async (moment) => {
    const left: Left = { under: 0, odd: 0 }
    for (const place of fieldsOf(collections)) {
      const { versions, odd } = await countField(store, place, moment, version)
      left.under += versions.get(version) ?? 0
      if (odd > 0) left.odd += Math.max(0, odd - (await oddStanding(store, place, moment)))
    }
    if (left.under > 0) left.under -= await countStanding(store, collections, version, moment)
    return left
  })
}

/** The two of `leftOf` together: none may be left where a rotation ends, or a version is removed. */
export async function remainingOf(
  store: Store,
  collections: readonly CollectionConfig[],
  version: number,
): Promise<number> {
  const { under, odd } = await leftOf(store, collections, version)
  return under + odd
}

async function countStanding(
  store: Store,
  collections: readonly CollectionConfig[],
  version: number,
  moment: Moment,
): Promise<number> {
  const names = new Set(
    fieldsOf(collections).map(({ collection, field }) => `${collection}/${field}`),
  )
  const rows = await readQuarantine(store, { kek_version: version }, moment)
  const ours = rows.filter(({ doc }) => names.has(`${doc._id.collection}/${doc._id.field}`))
  return (await standsThere(store, ours, moment)).filter(Boolean).length
}

/** A field's count by version in another way. */
export interface CensusDifference {
  collection: string
  field: string
  version: number | 'odd'
  byIndex: number
  byScan: number
}

/**
 * Counts once more, independently: by the definition alone over all records, in their natural order and without an
 * index, against the census by the indexes, at one moment. Answers where the two differ. It reads the collections whole.
 */
export async function censusDifferences(
  store: Store,
  collections: readonly CollectionConfig[],
): Promise<CensusDifference[]> {
  return atOneMoment(store, async (moment) => {
    const differences: CensusDifference[] = []
    for (const place of fieldsOf(collections)) {
      const { versions, odd } = await countField(store, place, moment)
      const byIndex = new Map<number | 'odd', number>([...versions, ['odd', odd]])
      const byScan = await scanField(store, place, moment)
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
 * Cuts a field's envelopes of a version into `shards` ranges of nearly equal size: the inner bounds, in order. Fewer, or
 * none, when there are not enough envelopes. On a sharded cluster they are cut along its chunks too, so that there are more.
 */
export async function splitPoints(
  store: Store,
  options: Omit<Parameters<typeof idBehind>[1], 'from' | 'until' | 'skip'> & { ranges: number },
): Promise<Bound[]> {
  const { collection, field, version, ranges } = options
  const path = (options.layout ?? keyturnLayout(field)).version
  const envelopes = await store.db.collection(collection).countDocuments({ [path]: version })
  const size = Math.ceil(envelopes / ranges)
  const points: Bound[] = []
  if (size === 0) return points
  const owners = await ownerBounds(store, collection)
  const most = owners.length + ranges - 1
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
