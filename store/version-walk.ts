import { MinKey, type Document } from 'mongodb'
import { KeyturnError } from '../contracts/errors.ts'
import type { Layout } from '../envelope/layout.ts'
import type { Bound } from './documents.ts'
import { forgetHints, indexHint } from './index-hints.ts'
import { boundAt, idOf } from './named-id.ts'
import { versionIndex } from './presence.ts'
import { rawElements } from './raw-bson.ts'
import { isBadHint } from './server-errors.ts'
import type { SnapshotOptions } from './snapshot.ts'
import type { Store } from './store.ts'

/**
 * Walks the records of one version in the order of the index `{<version>: 1, _id: 1}`. Comparisons like `$gt` stay within
 * one BSON type, index bounds do not: `min` (inclusive) and `max` (exclusive) with a hint return each `_id` of each type
 * once. Documents are read raw, so that no driver re-types an `_id` or a wrap field.
 */
export interface WalkRange {
  collection: string
  layout: Layout
  version: number
  /** Inclusive start of the range, used while `after` is null; null or absent for an open start. */
  from?: Bound | null
  /** The cursor: the last processed `_id`. The walk returns it again, as its first record. */
  after: Bound | null
  /** Exclusive end of the range; null for an open end. */
  until: Bound | null
  signal?: AbortSignal
  /** Reads this snapshot instead of the latest state. */
  snapshot?: SnapshotOptions
}

/** What is read of a range, and how much. */
export interface Reading {
  limit: number
  projection: Document
  skip?: number
}

/**
 * Raw documents, in the batches of MongoDB's answers. Throws `index-missing` without the index. An index that was recreated
 * under another name since its lookup is looked up again.
 */
export async function* walkVersion(
  store: Store,
  range: WalkRange,
  reading: Reading,
): AsyncGenerator<Buffer[], void> {
  const { collection, layout } = range
  const lookUp = async () => await indexHint(store, collection, layout, 'version')
  const hint = await lookUp()
  try {
    yield* walkHinted(store, range, reading, hint ?? versionIndex(layout))
  } catch (error) {
    if (!isBadHint(error)) throw error
    forgetHints(store)
    const other = await lookUp()
    if (other === null || other === hint) throw indexMissing(error, range)
    yield* walkHinted(store, range, reading, other)
  }
}

async function* walkHinted(
  store: Store,
  range: WalkRange,
  { limit, projection, skip = 0 }: Reading,
  hint: string | Record<string, 1>,
): AsyncGenerator<Buffer[], void> {
  const { layout, version, until, signal } = range
  const begin = range.after ?? range.from ?? null
  const cursor = store.db.collection(range.collection).find<Buffer>(
    {},
    {
      projection,
      hint,
      // A mongos merges several shards' answers. Elsewhere the index gives the order, also for arrays.
      ...(store.isRouter ? { sort: versionIndex(layout) } : {}),
      min: { [layout.version]: version, _id: begin === null ? new MinKey() : begin.v },
      max:
        until === null
          ? { [layout.version]: version + 1, _id: new MinKey() }
          : { [layout.version]: version, _id: until.v },
      skip,
      limit,
      batchSize: limit + 1,
      // The index has no collation, whatever the collection's is.
      collation: { locale: 'simple' },
      raw: true,
      ...(signal === undefined ? {} : { signal }),
      ...range.snapshot,
    },
  )
  try {
    while (await cursor.hasNext()) yield cursor.readBufferedDocuments()
  } finally {
    await cursor.close()
  }
}

export interface SkippedRange extends Pick<WalkRange, 'collection' | 'layout' | 'version'> {
  /** Inclusive; null is the first. */
  from: Bound | null
  /** Exclusive; null for no end. */
  until: Bound | null
  skip: number
}

/** The `_id` `skip` envelopes after `from`; null if the walk ends before. */
export async function idBehind(store: Store, place: SkippedRange): Promise<Bound | null> {
  const { skip, ...range } = place
  // Several, because the first may not be usable as a bound.
  const few = { limit: 8, projection: { _id: 1 }, skip }
  for await (const documents of walkVersion(store, { ...range, after: null }, few)) {
    for (const document of documents) {
      const bound = boundAt(idOf(rawElements(document)))
      if (bound !== null) return bound
    }
  }
  return null
}

function indexMissing(cause: unknown, { collection, layout }: WalkRange): KeyturnError {
  return new KeyturnError(
    'index-missing',
    `collection "${collection}" lacks the index on "${layout.version}"`,
    { hint: 'run: keyturn setup', cause },
  )
}
