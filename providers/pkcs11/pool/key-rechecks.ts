import type { ErrorCode } from '../../../contracts/errors.ts'

/** What a stale or dead client library answers about a key that exists. */
const rechecked: ReadonlySet<ErrorCode> = new Set(['cannot-encrypt', 'key-not-found'])
const FIRST_PAUSE_MS = 5_000
const LONGEST_PAUSE_MS = 600_000

/**
 * Decides whether a new process checks a key that seems missing or unusable before the pool believes it: some client
 * libraries see only the objects that existed at their C_Initialize. Rechecks of a version repeat with growing pauses.
 */
export class KeyRechecks {
  readonly #next = new Map<number, { at: number; pauseMs: number }>()

  /** True once, then again only after the pause. */
  isDue(code: ErrorCode, version: number, now: number = performance.now()): boolean {
    if (!rechecked.has(code)) return false
    const { at, pauseMs } = this.#next.get(version) ?? { at: 0, pauseMs: FIRST_PAUSE_MS }
    if (now < at) return false
    const longer = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)
    this.#next.set(version, { at: now + pauseMs, pauseMs: longer })
    return true
  }

  /** These versions worked. */
  clear(versions: readonly number[]): void {
    for (const version of versions) this.#next.delete(version)
  }
}
