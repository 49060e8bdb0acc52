import { readPage } from '../store/envelope-pages.ts'
import { classifyPage, type ClassifiedPage } from './classify-page.ts'
import { pageAtRate } from './pace.ts'
import type { RewrapContext } from './rewrap-context.ts'

/**
 * Stage 1: reads the range's pages in cursor order, ahead of the commits. A page starts after the last `_id` that was read:
 * what the commits change leaves the index range and never moves within it. Ends at the end of the range, or when
 * `context.stop` is set. Pages are yielded at the range's rate; an abort during that wait loses nothing.
 */
export async function* readPages(context: RewrapContext): AsyncGenerator<ClassifiedPage, void> {
  const { store, from, ratePerSecond } = context.options
  let oldCursor = context.cursor
  for (let page = 1; ; page++) {
    if (stopReading(context, page)) return
    const { entries, more } = await readPage(store, {
      collection: context.collection,
      layout: context.layout,
      version: from,
      after: oldCursor,
      from: context.min,
      until: context.max,
      limit: pageAtRate(context.pageSizing.page(), ratePerSecond),
      signal: context.abandon.signal,
    })
    const cursor = entries.at(-1)?.cursor ?? oldCursor
    const classified = await classifyPage(context, entries)
    if (!(await waitForRate(context, classified.length))) return
    yield { read: entries.length, entries: classified, oldCursor, cursor, last: !more }
    if (!more) return
    oldCursor = cursor
  }
}

/** The deadline never stops the first page, so that each attempt makes progress. */
function stopReading(context: RewrapContext, page: number): boolean {
  const { signal, deadline } = context.options
  if (signal.aborted) context.stop ??= 'aborted'
  else if (page > 1 && performance.now() >= deadline) context.stop ??= 'deadline'
  return context.stop !== null
}

async function waitForRate(context: RewrapContext, envelopes: number): Promise<boolean> {
  try {
    await context.pace(envelopes)
    return true
  } catch (error) {
    if (!context.options.signal.aborted) throw error
    context.stop ??= 'aborted'
    return false
  }
}
