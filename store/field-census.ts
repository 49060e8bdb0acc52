import type { Document } from 'mongodb'
import type { CollectionConfig } from '../contracts/settings.ts'
import { layoutIn, type Layout } from '../envelope/layout.ts'
import { forgetHints, indexHint } from './index-hints.ts'
import { asVersion, oddCandidates, presenceExpression } from './presence.ts'
import { inOneSnapshot, type SnapshotOptions } from './snapshot.ts'
import { isBadHint } from './server-errors.ts'
import type { Store } from './store.ts'

/** Two ways to count one field's envelopes. */

/** A field of a collection, with its layout. */
export interface FieldPlace {
  collection: string
  field: string
  layout: Layout
}

/** One field's envelopes by version, and the odd ones. */
export interface PlaceCounts {
  versions: Map<number, number>
  odd: number
}

/**
 * Counts numbers by the version's index, then envelopes that are odd for another reason by the index of odd candidates; those
 * with a version but a missing member are subtracted from that version. With `only`, counts of other versions are invalid.
 */
export async function countField(
  store: Store,
  place: FieldPlace,
  snapshot: SnapshotOptions,
  only?: number,
): Promise<PlaceCounts> {
  const counts: PlaceCounts = { versions: new Map(), odd: 0 }
  const add = (version: number, by: number) =>
    void counts.versions.set(version, (counts.versions.get(version) ?? 0) + by)
  for (const { value, envelopes } of await countNumbers(store, place, snapshot, only)) {
    // An array: its record is counted among the others.
    if (value === null) continue
    const version = asVersion(value)
    if (version === null) counts.odd += envelopes
    else add(version, envelopes)
  }
  for (const { value, envelopes } of await countOthers(store, place, snapshot)) {
    const version = asVersion(value)
    // A number that is not a version was counted above.
    if (version === null && value !== null) continue
    counts.odd += envelopes
    if (version !== null) add(version, -envelopes)
  }
  return counts
}

/** Envelopes by the value at the version's path; null: not a number. */
interface ValueCount {
  value: unknown
  envelopes: number
}

/** Above this number of distinct values, one walk over the index counts them all. */
const countedAlone = 64

/**
 * By the version's index alone: MongoDB steps from value to value, then counts each. If one is an array the index is not
 * enough, and the records are read. With `only`, other versions are omitted.
 */
async function countNumbers(
  store: Store,
  { collection, layout }: Omit<FieldPlace, 'field'>,
  snapshot: SnapshotOptions,
  only?: number,
): Promise<ValueCount[]> {
  const path = layout.version
  const records = store.db.collection(collection)
  const numbers = numbersAt(path)
  const values = await distinctNumbers(store, { collection, layout }, snapshot)
  if (values.length <= countedAlone && !values.some(Array.isArray)) {
    const wanted = values.filter((value) => only === undefined || isOddOr(only, value))
    const counts: ValueCount[] = []
    for (const value of wanted) {
      const envelopes = await records.countDocuments({ [path]: value }, { ...snapshot })
      counts.push({ value, envelopes })
    }
    return counts
  }
  const groups = await records
    .aggregate<{ _id: unknown; envelopes: number }>(
      [numbers, { $group: { _id: `$${path}`, envelopes: { $sum: 1 } } }],
      { ...snapshot },
    )
    .toArray()
  return groups.map(({ _id, envelopes }) => {
    return { value: Array.isArray(_id) ? null : _id, envelopes }
  })
}

/** MongoDB steps over the index from value to value. Records with an array on the path yield arrays. */
async function distinctNumbers(
  store: Store,
  { collection, layout }: Omit<FieldPlace, 'field'>,
  snapshot?: SnapshotOptions,
): Promise<unknown[]> {
  const path = layout.version
  const distinct = await store.db
    .collection(collection)
    .aggregate<{ _id: unknown }>(
      [numbersAt(path), { $sort: { [path]: 1 } }, { $group: { _id: `$${path}` } }],
      { ...snapshot },
    )
    .toArray()
  return distinct.map(({ _id }) => _id)
}

/** All but NaN, which is an odd candidate. */
function numbersAt(path: string): Document {
  return { $match: { [path]: { $gte: -Infinity } } }
}

function isOddOr(version: number, value: unknown): boolean {
  return (asVersion(value) ?? version) === version
}

/** Odd envelopes among the candidates. */
async function countOthers(
  store: Store,
  place: FieldPlace,
  snapshot: SnapshotOptions,
): Promise<ValueCount[]> {
  const path = `$${place.layout.version}`
  const number = { $cond: [{ $isNumber: path }, path, null] }
  const pipeline = [
    { $match: { $expr: { $eq: [presenceExpression(place.layout), 'odd'] } } },
    { $group: { _id: number, envelopes: { $sum: 1 } } },
  ]
  const counts: ValueCount[] = []
  type Group = { _id: unknown; envelopes: number }
  for await (const groups of candidatesOf<Group>(store, place, pipeline, { ...snapshot })) {
    for (const { _id, envelopes } of groups) {
      counts.push({ value: isNaNumber(_id) ? null : _id, envelopes })
    }
  }
  return counts
}

/**
 * Runs a pipeline over the index of odd candidates, or over the collection if that index is missing. Yields MongoDB's
 * batches.
 */
export async function* candidatesOf<T extends Document>(
  store: Store,
  { collection, layout }: FieldPlace,
  pipeline: Document[],
  options: Document,
): AsyncGenerator<T[], void> {
  const open = (index: Document) =>
    store.db
      .collection(collection)
      .aggregate<T>([{ $match: oddCandidates(layout) }, ...pipeline], { ...options, ...index })
  const hint = await indexHint(store, collection, layout, 'odd')
  let cursor = open(hint === null ? {} : { hint, collation: { locale: 'simple' } })
  try {
    const isFirstThere = await cursor.hasNext().catch(async (error: unknown) => {
      if (!isBadHint(error)) throw error
      forgetHints(store)
      await cursor.close()
      cursor = open({})
      return await cursor.hasNext()
    })
    for (let more = isFirstThere; more; more = await cursor.hasNext()) {
      yield cursor.readBufferedDocuments()
    }
  } finally {
    await cursor.close()
  }
}

/** Numbers at the version's path that are not versions. */
export async function oddNumbers(
  store: Store,
  place: FieldPlace,
  snapshot?: SnapshotOptions,
): Promise<unknown[]> {
  const values = await distinctNumbers(store, place, snapshot)
  return values.filter((value) => !Array.isArray(value) && asVersion(value) === null)
}

export async function countOdd(store: Store, place: FieldPlace): Promise<number> {
  const { odd } = await inOneSnapshot(store, (snapshot) => countField(store, place, snapshot, 0))
  return odd
}

function isNaNumber(value: unknown): boolean {
  return Number.isNaN(value) || String(value) === 'NaN'
}

/** Counts by the definition alone: all records in natural order, without an index. */
export async function scanField(
  store: Store,
  { collection, layout }: FieldPlace,
  snapshot: SnapshotOptions,
): Promise<Map<number | 'odd', number>> {
  const groups = await store.db
    .collection(collection)
    .aggregate<{ _id: number | 'odd' | null; envelopes: number }>(
      [{ $group: { _id: presenceExpression(layout), envelopes: { $sum: 1 } } }],
      { ...snapshot, hint: { $natural: 1 } },
    )
    .toArray()
  return new Map(
    groups.flatMap(({ _id, envelopes }) => (_id === null ? [] : [[_id, envelopes] as const])),
  )
}

export function fieldsOf(collections: readonly CollectionConfig[]): FieldPlace[] {
  return collections.flatMap(({ name, envelopes }) =>
    envelopes.map((field) => {
      return { collection: name, field, layout: layoutIn(collections, name, field) }
    }),
  )
}
