/**
 * How pages are re-wrapped. One attempt on one range is a pipeline of three stages. The first two are async generators
 * over pages, the third is the loop below:
 *
 *     readPages ──prefetch──▶ wrapPages ──prefetch──▶ the loop below
 *     MongoDB, read-only      the token               one transaction a page
 *
 * `prefetch` lets a stage make its next page while the following stage works on the last one. So while page n is written,
 * page n+1 is with the token and page n+2 is being read. At most three pages are in flight, since a stage waits until its
 * page is taken. This bounds memory, whatever the size of the collection.
 *
 * Order. Pages are written one after the other in cursor order: each transaction is filtered by the cursor that the
 * page before it left. Reading ahead of the writes is safe: a re-wrapped envelope leaves the index range that is read, and
 * an envelope that an application changes in the meantime no longer matches its update.
 *
 * Limits. The rate is applied where a page is read, before the token works on it. The rotation's budget of crypt calls is
 * reserved before the token is called, and a page is cut to what is left of it. `context.pageSizing` makes pages shorter
 * when they take long, and makes the loop rest after a page when the applications have priority.
 *
 * Ends. A stage that starts no further page sets `context.stop` and returns; pages in flight are still written. When a stage
 * throws (the token is at fault, MongoDB is unreachable), the loop gets the error when it asks for that page, so all earlier
 * pages are written first. When the loop itself fails or is replaced, pages in flight are dropped: read pages and new wraps
 * exist only in memory. In each case the generators are awaited, so no promise, session or call outlives `runPipeline`.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { noCounters, type Counters } from '../contracts/rotation.ts'
import { prefetch } from './prefetch.ts'
import { readPages } from './read-pages.ts'
import type { RewrapContext } from './rewrap-context.ts'
import type { SweepResult } from './sweep-options.ts'
import { wrapPages, type WrappedPage } from './wrap-pages.ts'
import { sum, writePage } from './write-page.ts'

/** How long a cancel waits for the pages in flight if the token or MongoDB does not answer, in milliseconds. */
const abandonAfterMs = 3_000

/** Runs the range until it ends or a stage sets `context.stop`. Rejects with the first error of a stage. */
export async function runPipeline(context: RewrapContext): Promise<SweepResult> {
  const forget = abandonLate(context)
  let counters: Counters = noCounters
  try {
    for await (const page of prefetch(wrapPages(context, prefetch(readPages(context))))) {
      const began = performance.now()
      const written = await writeOrAbandon(context, page)
      context.pageSizing.took(page.read, page.tokenMs + performance.now() - began)
      if (written === null) return { end: 'replaced', counters }
      counters = sum(counters, written)
      context.options.onPage({ counters })
      await rest(context)
    }
    return { end: context.stop ?? 'end', counters }
  } catch (error) {
    if (context.abandon.signal.reason === tooLate) return { end: 'aborted', counters }
    throw error
  } finally {
    forget()
  }
}

/** Ends at once when the sweep is stopped: pages in flight are written without a rest. */
async function rest({ pageSizing, options }: RewrapContext): Promise<void> {
  const restMs = pageSizing.restMs()
  if (restMs > 0) await sleep(restMs, undefined, { signal: options.signal }).catch(() => undefined)
}

const tooLate = new Error('cancelled, and the pages in flight did not end in time')

/** If the write fails or the attempt was replaced, aborts the work on the following pages too. */
async function writeOrAbandon(context: RewrapContext, page: WrappedPage): Promise<Counters | null> {
  try {
    const written = await writePage(context, page)
    if (written === null) context.abandon.abort(new Error('another attempt has the range'))
    return written
  } catch (error) {
    context.abandon.abort(error)
    throw error
  }
}

/** Drops the pages that are still in flight some time after an abort. Returns a function that cancels this. */
function abandonLate(context: RewrapContext): () => void {
  const { signal } = context.options
  let timer: NodeJS.Timeout | undefined
  const start = () => {
    timer = setTimeout(() => context.abandon.abort(tooLate), abandonAfterMs)
  }
  if (signal.aborted) start()
  else signal.addEventListener('abort', start, { once: true })
  return () => {
    signal.removeEventListener('abort', start)
    clearTimeout(timer)
  }
}
