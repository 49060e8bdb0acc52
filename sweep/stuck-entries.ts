import { storedWrapped } from '../envelope/layout.ts'
import { wrapDigest } from '../envelope/wrap-digest.ts'
import { readPage, type PageEntry } from '../store/envelope-pages.ts'
import { hasWrap } from '../store/wrap-filter.ts'
import type { RewrapContext } from './rewrap-context.ts'
import type { WrappedPage } from './wrap-pages.ts'

/**
 * The entries of a written page that no update matched, that still have the bytes that were read, and that their own filter
 * does not find. They are read before and after the filter is tried, so that a record that an application changes in the
 * meantime is not counted.
 */
export async function stuckEntries(
  context: RewrapContext,
  page: WrappedPage,
): Promise<PageEntry[]> {
  const tried = new Map(page.wraps.map(({ entry }) => [hex(entry.idBytes), digest(entry)]))
  const suspects = await stillThere(context, page, tried)
  if (suspects.length === 0) return []
  const { store, from } = context.options
  const unmatched = new Map<string, string>()
  for (const entry of suspects) {
    const found = { id: entry.id, version: from, wrapped: storedWrapped(entry.wrap) }
    if (!(await hasWrap(store, context, found))) unmatched.set(hex(entry.idBytes), digest(entry))
  }
  return unmatched.size === 0 ? [] : await stillThere(context, page, unmatched)
}

/** Reads the page again and returns the entries whose digest is unchanged. */
async function stillThere(
  context: RewrapContext,
  page: WrappedPage,
  known: ReadonlyMap<string, string>,
): Promise<PageEntry[]> {
  const { entries } = await readPage(context.options.store, {
    collection: context.collection,
    layout: context.layout,
    version: context.options.from,
    after: page.oldCursor,
    from: context.min,
    until: context.max,
    limit: page.read,
    signal: context.abandon.signal,
  })
  return entries.filter((entry) => known.get(hex(entry.idBytes)) === digest(entry))
}

function digest(entry: PageEntry): string {
  return hex(wrapDigest(entry.wrap))
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
