/**
 * The context of a page. One attempt on one range is three stages in a row, each an async generator over pages:
 *
 *     readPages ──ahead──▶ wrapPages ──ahead──▶ the loop below
 *     MongoDB, read-only   the token            one transaction a page
 *
 * `ahead` lets a stage make its next page while the stage behind it works on the last. So while page n is written,
 * page n+1 is with the token and page n+2 is being read: three pages in flight and never more, since a stage that is
 * done waits until its page is taken. Memory is bounded by that, whatever the size of the collection.
 *
 * Order. Pages are written one after the other in cursor order: each transaction is filtered by the cursor that the
 * page before it left. Reading runs ahead of the writes without harm, because a rewrapped envelope leaves the index
 * range that is walked, and an envelope that an application changes meanwhile does not match its update any more.
 *
 * Brakes. The rate is paid for where a page is read, before the token sees it; the rotation's budget of crypt calls is
 * reserved before the token is asked, and a page is cut to what is left of it; `context.tempo` makes pages shorter when they
 * take long, and lets the loop rest behind one when the applications come first.
 *
 * Ends. A stage that begins no further page says why in `context.stop` and just ends; what is in flight flows out and is
 * written. A stage that throws (the token is at fault, the database is away) is met by the loop when it asks for that
 * page, so all pages before it are written first. When the loop itself fails or is replaced, what is in flight is
 * abandoned: read pages and made wraps are only memory, nothing of them was written. In each case the generators are
 * waited for, so no promise, session or call outlives `runPipeline`.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { noCounters, type Counters } from '../contracts/rotation.ts'
import { prefetch } from './prefetch.ts'
import { readPages } from './read-pages.ts'
import type { RewrapContext } from './rewrap-context.ts'
import type { SweepResult } from './sweep-options.ts'
import { wrapPages, type WrappedPage } from './wrap-pages.ts'
import { sum, writePage } from './write-page.ts'

/** How long a cancel waits for the pages in flight when the token or the database does not answer, in milliseconds. */
const abandonAfterMs = 3_000

/** Runs the range until it ends or is told to stop. Rejects with the first error of a stage. */
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

/** Ends at once when the sweep is told to stop: what is in flight is written without a rest. */
async function rest({ pageSizing, options }: RewrapContext): Promise<void> {
  const restMs = pageSizing.restMs()
  if (restMs > 0) await sleep(restMs, undefined, { signal: options.signal }).catch(() => undefined)
}

const tooLate = new Error('cancelled, and the pages in flight did not end in time')

/** Whatever ends the loop here also ends the work on the pages behind, so that nobody waits for it. */
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

/** Abandons what is still in flight some time after the sweep was aborted. Returns how to call that off. */
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
