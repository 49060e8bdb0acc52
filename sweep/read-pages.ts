import { readPage } from '../store/envelope-pages.ts'
import { judgePage, type JudgedPage } from './judge.ts'
import { pageAtRate } from './pace.ts'
import type { Road } from './road.ts'

/**
 * Stage 1: the shard's pages in cursor order, read ahead of the commits: a page begins behind the last `_id` that was
 * read, since what the commits change leaves the index range and never moves within it. Ends when there is nothing
 * more, or when `road.stop` says why not. A page is let go at the shard's rate; nothing is lost when that wait ends.
 */
export async function* readPages(road: Road): AsyncGenerator<JudgedPage, void> {
  const { store, from, ratePerSecond } = road.options
  let oldCursor = road.cursor
  for (let page = 1; ; page++) {
    if (stopReading(road, page)) return
    const { entries, more } = await readPage(store, {
      collection: road.collection,
      field: road.field,
      layout: road.layout,
      version: from,
      after: oldCursor,
      from: road.min,
      until: road.max,
      limit: pageAtRate(road.tempo.page(), ratePerSecond),
      signal: road.abandon.signal,
    })
    const cursor = entries.at(-1)?.cursor ?? oldCursor
    const judged = await judgePage(road, entries)
    if (!(await letGo(road, judged.length))) return
    yield { read: entries.length, entries: judged, oldCursor, cursor, last: !more }
    if (!more) return
    oldCursor = cursor
  }
}

/** A deadline lets the first page pass, so that each attempt gets on. */
function stopReading(road: Road, page: number): boolean {
  const { signal, deadline } = road.options
  if (signal.aborted) road.stop ??= 'aborted'
  else if (page > 1 && performance.now() >= deadline) road.stop ??= 'deadline'
  return road.stop !== null
}

async function letGo(road: Road, envelopes: number): Promise<boolean> {
  try {
    await road.pace(envelopes)
    return true
  } catch (error) {
    if (!road.options.signal.aborted) throw error
    road.stop ??= 'aborted'
    return false
  }
}
