import { Binary, MinKey, type Document } from 'mongodb'
import { KeyturnError } from '../contracts/errors.ts'
import { idBytesFromElement } from '../envelope/record-id.ts'
import { keyturnLayout, type Layout } from '../envelope/layout.ts'
import type { Bound } from './documents.ts'
import {
  elementOf,
  NotFaithful,
  rawAt,
  rawElements,
  rawMembers,
  rawValue,
  sameElement,
  type RawElement,
} from './raw-bson.ts'
import type { Moment } from './snapshot.ts'
import type { Store } from './store.ts'

/**
 * Walking the envelopes of one version in the order of the index `{<field>.kek_version: 1, _id: 1}`. Comparisons like
 * `$gt` stay within one BSON type, index bounds do not: `min` (inclusive) and `max` (exclusive) with a hint meet each
 * `_id` of each type once. Documents are read raw, so that no driver re-types an `_id` or a wrap field.
 */

export interface PageRequest {
  collection: string
  /** Dotted path of the envelope. */
  field: string
  /** `keyturn-1` unless given. */
  layout?: Layout
  version: number
  /** Inclusive begin of the range, used while `after` is null; null or absent for an open one. */
  from?: Bound | null
  /** The cursor: the last `_id` that was dealt with. */
  after: Bound | null
  /** Exclusive end of the range; null for an open one. */
  until: Bound | null
  limit: number
  signal?: AbortSignal
  /** Reads at this moment instead of the latest. */
  moment?: Moment
}

export interface PageEntry {
  /**
   * The record's `_id` for use in filters: numbers as `Int32`, `Long`, `Double`, sub-documents as `Map`. Of the few
   * types that this driver cannot give back (undefined, DBPointer, far dates): a binary of `idBytes`, which matches
   * nothing, so that such an envelope ends as `id-unsupported`.
   */
  id: unknown
  /** The same for the AAD (envelope/record-id.ts), from the raw bytes. */
  idBytes: Buffer
  /** Where to go on when this entry is dealt with. */
  cursor: Bound
  /**
   * The wrap fields as found, unpromoted, under the names of `keyturn-1` whatever the layout; anything at all where the
   * envelope is malformed.
   */
  wrap: unknown
}

export interface Page {
  entries: PageEntry[]
  /** False when the range ends with this page. */
  more: boolean
}

/** The index that makes walk, census and sweep cheap; `setup` creates it. */
export function versionIndex({ version }: Layout): Record<string, 1> {
  return { [version]: 1, _id: 1 }
}

/** The projection of `_id` and the wrap fields: the data itself is never read. */
export function wrapProjection({ paths }: Layout): Document {
  return Object.fromEntries(['_id', ...paths].map((path) => [path, 1]))
}

/** The wrap fields of a record as found; undefined where there is no envelope. */
export function wrapAt(document: Buffer | readonly RawElement[], layout: Layout): unknown {
  if (layout.declared === null) {
    const envelope = rawAt(document, layout.field)
    return envelope === null ? undefined : rawMembers(envelope)
  }
  const found: Record<string, unknown> = {}
  const members = { kek_version: layout.version, dek_iv: layout.iv, dek_wrapped: layout.wrapped }
  for (const [name, path] of Object.entries(members)) {
    const element = path === null ? null : rawAt(document, path)
    if (element !== null) found[name] = rawMembers(element)
  }
  return 'kek_version' in found ? found : undefined
}

/** Reads at most `limit` entries behind `after`. Throws `index-missing` without the index. */
export async function readPage(store: Store, page: PageRequest): Promise<Page> {
  // One more that may be the old cursor still, and one that shows whether there is more.
  const documents = await readRaw(store, page, page.limit + 2)
  const rest = documents.slice(isOldCursor(documents[0], page.after) ? 1 : 0)
  const here = rest.slice(0, page.limit)
  const layout = page.layout ?? keyturnLayout(page.field)
  let cursor = page.after
  const entries: PageEntry[] = []
  for (const document of here) {
    const entry = entryOf(document, layout, cursor)
    cursor = entry.cursor
    entries.push(entry)
  }
  const more = rest.length > page.limit
  if (more && cursor === page.after) throw noWayOn(page)
  return { entries, more }
}

/**
 * The `_id` that stands `skip` envelopes behind `from` (inclusive; null is the first); null where the walk ends before.
 */
export async function idBehind(
  store: Store,
  place: Pick<PageRequest, 'collection' | 'field' | 'layout' | 'version'> & {
    from: Bound | null
    /** Exclusive; null for no end. */
    until: Bound | null
    skip: number
  },
): Promise<Bound | null> {
  const range = { ...place, after: null }
  // A few, in case that the first is one that cannot be a bound.
  for (const document of await readRaw(store, range, 8, place.skip)) {
    try {
      return { v: rawValue(idOf(rawElements(document))) }
    } catch (error) {
      if (!(error instanceof NotFaithful)) throw error
    }
  }
  return null
}

type Range = Omit<PageRequest, 'limit'>

async function readRaw(store: Store, page: Range, limit: number, skip = 0): Promise<Buffer[]> {
  const layout = page.layout ?? keyturnLayout(page.field)
  const { version } = layout
  const begin = page.after ?? page.from ?? null
  const cursor = store.db.collection(page.collection).find<Buffer>(
    {},
    {
      projection: wrapProjection(layout),
      hint: versionIndex(layout),
      // A mongos puts the answers of several shards together. Elsewhere the index is the order, of arrays too.
      ...(store.isRouter ? { sort: versionIndex(layout) } : {}),
      min: { [version]: page.version, _id: begin === null ? new MinKey() : begin.v },
      max:
        page.until === null
          ? { [version]: page.version + 1, _id: new MinKey() }
          : { [version]: page.version, _id: page.until.v },
      skip,
      limit,
      batchSize: limit + 1,
      // The index is made without collation, whatever the collection's is.
      collation: { locale: 'simple' },
      raw: true,
      ...(page.signal === undefined ? {} : { signal: page.signal }),
      ...page.moment,
    },
  )
  try {
    return await cursor.toArray()
  } catch (error) {
    throw asIndexMissing(error, page)
  }
}

function isOldCursor(document: Buffer | undefined, after: Bound | null): boolean {
  if (document === undefined || after === null) return false
  return sameElement(idOf(rawElements(document)), elementOf(after.v))
}

function entryOf(document: Buffer, layout: Layout, before: Bound | null): PageEntry {
  const elements = rawElements(document)
  const idElement = idOf(elements)
  const idBytes = idBytesFromElement(idElement)
  const wrap = wrapAt(elements, layout)
  try {
    const id = rawValue(idElement)
    return { id, idBytes, cursor: { v: id }, wrap }
  } catch (error) {
    if (!(error instanceof NotFaithful)) throw error
    return { id: new Binary(idBytes), idBytes, cursor: before ?? { v: new MinKey() }, wrap }
  }
}

function idOf(elements: readonly RawElement[]): RawElement {
  const id = elements.find(({ name }) => name === '_id')
  if (id === undefined) throw new KeyturnError('internal', 'a record came without _id')
  return id
}

/** A whole page of ids that cannot be a cursor: never seen, and better than to walk in circles. */
function noWayOn({ collection, limit }: PageRequest): KeyturnError {
  return new KeyturnError(
    'id-unsupported',
    `collection '${collection}' has over ${limit} records in a row whose _id is of an unsupported type`,
    { hint: 'raise rewrap.page, or give these records another _id' },
  )
}

/** A missing index answers with code 2 (BadValue) or 17007, and these words. */
function asIndexMissing(error: unknown, { collection, field, layout }: Range): unknown {
  const text = error instanceof Error ? error.message : ''
  if (!/hint provided does not correspond|planner returned error: bad hint/i.test(text)) {
    return error
  }
  return new KeyturnError(
    'index-missing',
    `collection '${collection}' lacks the index on '${(layout ?? keyturnLayout(field)).version}'`,
    { hint: 'run: keyturn setup', cause: error },
  )
}
