import { MinKey, type Document } from 'mongodb'
import { KeyturnError } from '../contracts/errors.ts'
import type { Layout } from '../envelope/layout.ts'
import type { Bound } from './documents.ts'
import { throughElection } from './election.ts'
import { idOf, namedId, type NamedId } from './named-id.ts'
import { longestPart, presenceOf } from './presence.ts'
import { rawElements, sameElement, type RawElement } from './raw-bson.ts'
import { elementOf } from './raw-values.ts'
import type { Store } from './store.ts'
import { walkVersion, type WalkRange } from './version-walk.ts'
import { boundedProjection, isWhole, wrapAt, wrapProjection } from './wrap-fields.ts'

/** Pages of one version's envelopes, in the order of the walk (version-walk.ts). */

export interface PageRequest extends WalkRange {
  limit: number
}

export interface PageEntry extends Pick<NamedId, 'id' | 'idBytes'> {
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
  const { layout } = page
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
  for await (const documents of walkVersion(store, page, { limit: page.limit + 2, projection })) {
    for (const document of documents) {
      const elements = rawElements(document)
      if (document.length - idOf(elements).bytes.length > most) return null
      if (!collected.add(elements)) return collected.page(true)
    }
  }
  return collected.page(false)
}

function pageOf(page: PageRequest) {
  const { layout, after } = page
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

function entryOf(elements: readonly RawElement[], layout: Layout, before: Bound | null): PageEntry {
  const { id, idBytes, isNamed } = namedId(idOf(elements))
  const wrap = wrapAt(elements, layout)
  const isOdd = !isWhole(wrap, layout) && presenceOf(elements, layout) === 'odd'
  const cursor = isNamed ? { v: id } : (before ?? { v: new MinKey() })
  return { id, idBytes, isOdd, cursor, wrap }
}

/** A whole page of ids that cannot be a cursor. Never seen; without this error the walk would not end. */
function noWayOn({ collection, limit }: PageRequest): KeyturnError {
  return new KeyturnError(
    'id-unsupported',
    `collection "${collection}" has over ${limit} records in a row whose _id is of an unsupported type`,
    { hint: 'raise rewrap.page, or give these records another _id' },
  )
}
