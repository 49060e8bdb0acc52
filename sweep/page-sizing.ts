import type { Priority } from '../contracts/rotation.ts'

/**
 * How large a page is and how long a sweep rests after it, from the time that the last pages took.
 *
 * Size: after a page of more than three seconds the size is halved; after one of less than a second it is doubled, up to
 * the configured size. So transactions stay short with large documents, a slow token or a busy database, and pause and
 * cancel act soon.
 *
 * Rest: with priority `applications`, as long as the page took, and three times that while an envelope takes more than 1.5
 * times as long as in the fastest page: the database or the token is busy then. With priority `rotation` there is none.
 */
export interface PageSizing {
  /** Envelopes of the next page. */
  page(): number
  /** A page was written: how many envelopes, and the milliseconds of token and transaction. */
  took(envelopes: number, milliseconds: number): void
  /** Milliseconds to wait before the next write. */
  restMs(): number
}

/** Milliseconds: pages are halved above the first and may be doubled below the second. */
const slowMs = 3_000
const quickMs = 1_000
/** Smaller pages would only cost round trips. */
const leastPage = 20
/** With priority `applications`: short transactions, so that no update waits long for a ticket or a lock. */
const mostForApplications = 250
const longestRestMs = 5_000
/** Smaller pages are not measured: their time is mostly round trips. */
const leastMeasured = 10
const slowdown = 1.5

export function pageSizing(configured: number, priority: Priority): PageSizing {
  const most = priority === 'applications' ? Math.min(configured, mostForApplications) : configured
  const least = Math.min(leastPage, most)
  let page = most
  let fastest = Infinity
  let rest = 0
  return {
    page: () => page,
    took(envelopes, milliseconds) {
      if (milliseconds > slowMs) page = Math.max(least, Math.floor(page / 2))
      else if (milliseconds < quickMs && envelopes >= page) page = Math.min(most, page * 2)
      rest = 0
      if (priority === 'rotation' || envelopes < leastMeasured) return
      const each = milliseconds / envelopes
      fastest = Math.min(fastest, each)
      rest = Math.min(longestRestMs, milliseconds * (each > fastest * slowdown ? 3 : 1))
    },
    restMs: () => rest,
  }
}
