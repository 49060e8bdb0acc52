import { setTimeout as sleep } from 'node:timers/promises'

/** How much a sweep may catch up after a slow page: one second of its rate. */
const slackMs = 1_000

/** A page holds at most this many milliseconds of the rate, so that pause, cancel and a new rate act within that time. */
const pageMs = 250

/** The page size for a rate: the configured one, or a quarter of a second's envelopes, at least one. */
export function pageAtRate(page: number, ratePerSecond: number): number {
  if (ratePerSecond <= 0) return page
  return Math.max(1, Math.min(page, Math.floor((ratePerSecond * pageMs) / 1_000)))
}

/**
 * Returns a function that waits until the rate allows `envelopes` more. The wait comes *before* each page, so that the rate
 * holds over any period and many short sweeps are not faster than a long one. Rate 0: no wait.
 * Rejects with the signal's AbortError when it is aborted during the wait.
 */
export function paceAt(
  ratePerSecond: number,
  signal: AbortSignal,
): (envelopes: number) => Promise<void> {
  let due = performance.now()
  return async (envelopes) => {
    if (ratePerSecond <= 0) return
    due = Math.max(due, performance.now() - slackMs) + (envelopes * 1_000) / ratePerSecond
    // A timer of Node may fire a millisecond early.
    for (let wait = due - performance.now(); wait > 0; wait = due - performance.now()) {
      await sleep(wait, undefined, { signal })
    }
  }
}
