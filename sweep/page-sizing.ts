import type { Priority } from '../contracts/rotation.ts'

/**
 * How large a page is and how long a sweep rests behind it, by what the last pages took.
 *
 * Size: a page that took over three seconds is halved, one that was quick is doubled up to the configured size. So large
 * documents, a slow token and a busy database get short transactions, which pause and cancel need too.
 *
 * Rest, with priority `applications`: as long as the page took, and three times that while pages take half as much again
 * as the fastest did, each for its envelopes: somebody else wants the database or the token then. With priority
 * `rotation` there is none.
 */
export interface PageSizing {
  /** Envelopes of the next page. */
  page(): number
  /** A page was written: how many envelopes, and the milliseconds of token and transaction. */
  took(envelopes: number, milliseconds: number): void
  /** Milliseconds to wait before the next write. */
  restMs(): number
}

/** Milliseconds: above the first a page is halved, below the second it may be doubled. */
const slowMs = 3_000
const quickMs = 1_000
/** Smaller pages would only cost round trips. */
const leastPage = 20
/** With priority `applications`: short transactions, so that no update waits long for a ticket or a lock. */
const mostForApplications = 250
const longestRestMs = 5_000
/** Pages of fewer envelopes say little about what one takes. */
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
