import { hash } from 'node:crypto'
import { Binary, MinKey, type Document } from 'mongodb'
import { KeyturnError } from '../contracts/errors.ts'
import { asDocument } from '../envelope/bson-values.ts'
import { wrapFieldNames } from '../envelope/envelope.ts'
import { idBytesFromElement } from '../envelope/record-id.ts'
import { keyturnLayout, type Layout } from '../envelope/layout.ts'
import type { Bound } from './documents.ts'
import { throughElection } from './election.ts'
import { forgetHints, indexHint } from './index-hints.ts'
import { asVersion, boundedPart, longestPart, presenceOf, versionIndex } from './presence.ts'
import {
  elementOf,
  NotFaithful,
  rawAt,
  rawElements,
  rawMembers,
  rawNearest,
  rawValue,
  sameElement,
  type RawElement,
} from './raw-bson.ts'
import type { Moment } from './snapshot.ts'
import { isBadHint } from './store-errors.ts'
import type { Store } from './store.ts'

/**
 * Walks the envelopes of one version in the order of the index `{<field>.kek_version: 1, _id: 1}`. Comparisons like `$gt`
 * stay within one BSON type, index bounds do not: `min` (inclusive) and `max` (exclusive) with a hint return each `_id` of
 * each type once. Documents are read raw, so that no driver re-types an `_id` or a wrap field.
 */

export interface PageRequest {
  collection: string
  /** Dotted path of the envelope. */
  field: string
  /** `keyturn-1` unless given. */
  layout?: Layout
  version: number
  /** Inclusive start of the range, used while `after` is null; null or absent for an open start. */
  from?: Bound | null
  /** The cursor: the last processed `_id`. */
  after: Bound | null
  /** Exclusive end of the range; null for an open end. */
  until: Bound | null
  limit: number
  signal?: AbortSignal
  /** Reads this snapshot instead of the latest state. */
  moment?: Moment
}

export interface PageEntry {
  /**
   * The record's `_id` for use in filters: numbers as `Int32`, `Long`, `Double`, sub-documents as `Map`. For the few
   * types that this driver cannot return unchanged (undefined, DBPointer, far dates): a binary of `idBytes`, which matches
   * no record, so that such an envelope ends as `id-unsupported`.
   */
  id: unknown
  /** The same for the AAD (envelope/record-id.ts), from the raw bytes. */
  idBytes: Buffer
  /** It is in the index under the version, but odd (presence.ts). */
  isOdd: boolean
  /** Where the walk continues after this entry. */
  cursor: Bound
  /**
   * The wrap fields as found, unpromoted, under the names of `keyturn-1` for every layout; any value if the envelope is
   * malformed, and `{bytes: n}` instead of a value that is longer than any part of a wrap.
   */
  wrap: unknown
}

export interface Page {
  entries: PageEntry[]
  /** False when the range ends with this page. */
  more: boolean
}

/** Projection of `_id` and the wrap fields: the data itself is never read. */
export function wrapProjection({ paths }: Layout): Document {
  return Object.fromEntries(['_id', ...paths].map((path) => [path, 1]))
}

/** The same without values that are longer than any part of a wrap. It takes MongoDB 1.5 times as long. */
export function boundedProjection({ paths }: Layout): Document {
  return { _id: 1, ...Object.fromEntries(paths.map((path) => [path, boundedPart(path)])) }
}

/** The wrap fields of a record as found; undefined if there is no envelope. */
export function wrapAt(document: Buffer | readonly RawElement[], layout: Layout): unknown {
  if (layout.declared === null) {
    const envelope = rawAt(document, layout.field)
    return envelope === null ? undefined : rawMembers(envelope, longestPart)
  }
  const found: Record<string, unknown> = {}
  const members = { kek_version: layout.version, dek_iv: layout.iv, dek_wrapped: layout.wrapped }
  for (const [name, path] of Object.entries(members)) {
    const element = path === null ? null : rawAt(document, path)
    if (element !== null) found[name] = rawNearest(element, longestPart)
  }
  return 'kek_version' in found || 'dek_wrapped' in found ? found : undefined
}

/** Limit of a page's `_id`s and wraps, in bytes. An entry normally has a few hundred. */
const pageBytes = 4 * 2 ** 20
/** Assumed size of an entry besides its `_id`, in bytes. */
const entryBytes = 512
/** A document larger than this besides its `_id` has a value that is longer than any part of a wrap. */
const plainBytes = 8 * longestPart

/**
 * Reads at most `limit` entries after `after`; fewer if they are large. Throws `index-missing` without the index. It holds
 * one answer of MongoDB (16 MB) and `pageBytes` in memory: a page with a value that is longer than any part of a wrap is
 * read again, and MongoDB then omits that value.
 */
export async function readPage(store: Store, page: PageRequest): Promise<Page> {
  const layout = page.layout ?? keyturnLayout(page.field)
  const collect = (projection: Document, most: number) =>
    throughElection(() => collectPage(store, page, projection, most), true)
  const found = await collect(wrapProjection(layout), plainBytes)
  return found ?? (await collect(boundedProjection(layout), Infinity)) ?? noPage
}

const noPage: Page = { entries: [], more: false }

/** Null if a document has more than `most` bytes besides its `_id`. */
async function collectPage(
  store: Store,
  page: PageRequest,
  projection: Document,
  most: number,
): Promise<Page | null> {
  const collected = pageOf(page)
  // One more because the first may be the old cursor, and one to see whether there are more.
  for await (const documents of readRaw(store, page, { limit: page.limit + 2, projection })) {
    for (const document of documents) {
      const elements = rawElements(document)
      if (document.length - idOf(elements).bytes.length > most) return null
      if (!collected.add(elements)) return collected.page(true)
    }
  }
  return collected.page(false)
}

function pageOf(page: PageRequest) {
  const layout = page.layout ?? keyturnLayout(page.field)
  const { after } = page
  const old = after === null ? null : elementOf(after.v)
  const entries: PageEntry[] = []
  let cursor = after
  let bytes = 0
  let isFirst = true
  return {
    /** False: the page is full. */
    add(elements: readonly RawElement[]): boolean {
      const isOld = isFirst && old !== null && sameElement(idOf(elements), old)
      isFirst = false
      if (isOld) return true
      if (entries.length === page.limit || bytes > pageBytes) return false
      const entry = entryOf(elements, layout, cursor)
      entries.push(entry)
      bytes += 2 * entry.idBytes.length + entryBytes
      cursor = entry.cursor
      return true
    },
    page(more: boolean): Page {
      if (more && cursor === after) throw noWayOn(page)
      return { entries, more }
    },
  }
}

/**
 * The `_id` `skip` envelopes after `from` (inclusive; null is the first); null if the walk ends before.
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
  // Several, because the first may not be usable as a bound.
  const few = { limit: 8, projection: { _id: 1 }, skip: place.skip }
  for await (const documents of readRaw(store, range, few)) {
    for (const document of documents) {
      const bound = boundAt(idOf(rawElements(document)))
      if (bound !== null) return bound
    }
  }
  return null
}

type Range = Omit<PageRequest, 'limit'>

/** What is read of a range, and how much. */
interface Reading {
  limit: number
  projection: Document
  skip?: number
}

/** An index that was recreated under another name since its lookup is looked up again. */
async function* readRaw(
  store: Store,
  page: Range,
  reading: Reading,
): AsyncGenerator<Buffer[], void> {
  const layout = page.layout ?? keyturnLayout(page.field)
  const lookUp = async () => await indexHint(store, page.collection, layout, 'version')
  const hint = await lookUp()
  try {
    yield* readHinted(store, page, reading, hint ?? versionIndex(layout))
  } catch (error) {
    if (!isBadHint(error)) throw error
    forgetHints(store)
    const other = await lookUp()
    if (other === null || other === hint) throw indexMissing(error, page)
    yield* readHinted(store, page, reading, other)
  }
}

async function* readHinted(
  store: Store,
  page: Range,
  { limit, projection, skip = 0 }: Reading,
  hint: string | Record<string, 1>,
): AsyncGenerator<Buffer[], void> {
  const layout = page.layout ?? keyturnLayout(page.field)
  const { version } = layout
  const begin = page.after ?? page.from ?? null
  const cursor = store.db.collection(page.collection).find<Buffer>(
    {},
    {
      projection,
      hint,
      // A mongos merges several shards' answers. Elsewhere the index gives the order, also for arrays.
      ...(store.isRouter ? { sort: versionIndex(layout) } : {}),
      min: { [version]: page.version, _id: begin === null ? new MinKey() : begin.v },
      max:
        page.until === null
          ? { [version]: page.version + 1, _id: new MinKey() }
          : { [version]: page.version, _id: page.until.v },
      skip,
      limit,
      batchSize: limit + 1,
      // The index has no collation, whatever the collection's is.
      collation: { locale: 'simple' },
      raw: true,
      ...(page.signal === undefined ? {} : { signal: page.signal }),
      ...page.moment,
    },
  )
  try {
    while (await cursor.hasNext()) yield cursor.readBufferedDocuments()
  } finally {
    await cursor.close()
  }
}

function entryOf(elements: readonly RawElement[], layout: Layout, before: Bound | null): PageEntry {
  const { id, idBytes, isNamed } = namedId(idOf(elements))
  const wrap = wrapAt(elements, layout)
  const isOdd = !isWhole(wrap, layout) && presenceOf(elements, layout) === 'odd'
  const cursor = isNamed ? { v: id } : (before ?? { v: new MinKey() })
  return { id, idBytes, isOdd, cursor, wrap }
}

/** A range document holds three bounds, and MongoDB limits a document to 16 MB. */
const longestId = 4 * 2 ** 20

/**
 * An `_id` as in `PageEntry`. If this driver cannot return it unchanged, or it is too long for a bound, `isNamed` is false
 * and a binary of its bytes, or of their digest if they are many, takes its place.
 */
export function namedId(element: RawElement): { id: unknown; idBytes: Buffer; isNamed: boolean } {
  const bound = boundAt(element)
  if (bound !== null) return { id: bound.v, idBytes: idBytesFromElement(element), isNamed: true }
  const idBytes = bytesOfUnnamed(element)
  return { id: new Binary(idBytes), idBytes, isNamed: false }
}

function bytesOfUnnamed(element: RawElement): Buffer {
  if (element.bytes.length > longestId) return hash('sha256', element.bytes, 'buffer')
  try {
    return idBytesFromElement(element)
  } catch {
    return Buffer.from([element.type, ...element.bytes])
  }
}

/** Null for an `_id` that cannot be named. */
function boundAt(element: RawElement): Bound | null {
  if (element.bytes.length > longestId) return null
  try {
    return { v: rawValue(element) }
  } catch (error) {
    if (error instanceof NotFaithful) return null
    throw error
  }
}

/** True for nearly all entries; saves checking each part again. */
function isWhole(wrap: unknown, layout: Layout): boolean {
  const members = asDocument(wrap)
  if (members === null || asVersion(members['kek_version']) === null) return false
  const names = layout.declared === null ? wrapFieldNames : declaredNames(layout)
  return names.every((name) => members[name] !== undefined && members[name] !== null)
}

function declaredNames({ iv }: Layout): string[] {
  return ['dek_wrapped', ...(iv === null ? [] : ['dek_iv'])]
}

export function idOf(elements: readonly RawElement[]): RawElement {
  const id = elements.find(({ name }) => name === '_id')
  if (id === undefined) throw new KeyturnError('internal', 'a record came without _id')
  return id
}

/** A whole page of ids that cannot be a cursor. Never seen; without this error the walk would not end. */
function noWayOn({ collection, limit }: PageRequest): KeyturnError {
  return new KeyturnError(
    'id-unsupported',
    `collection '${collection}' has over ${limit} records in a row whose _id is of an unsupported type`,
    { hint: 'raise rewrap.page, or give these records another _id' },
  )
}

function indexMissing(cause: unknown, { collection, field, layout }: Range): KeyturnError {
  return new KeyturnError(
    'index-missing',
    `collection '${collection}' lacks the index on '${(layout ?? keyturnLayout(field)).version}'`,
    { hint: 'run: keyturn setup', cause },
  )
}
