import type { ErrorCode } from '../../../contracts/errors.ts'

/** What a client library that is out of date, or dead, says of a key that is there. */
const doubtful: ReadonlySet<ErrorCode> = new Set(['cannot-encrypt', 'key-not-found'])
const FIRST_PAUSE_MS = 5_000
const LONGEST_PAUSE_MS = 600_000

/**
 * Whether a key that is missing or useless shall be looked at by a new process before that is believed: some clients see
 * only the objects that were there at their C_Initialize. Again and again, with pauses that grow by version.
 */
export class Doubts {
  readonly #next = new Map<number, { at: number; pauseMs: number }>()

  /** True once, then not before the pause is over. */
  about(code: ErrorCode, version: number, now: number = performance.now()): boolean {
    if (!doubtful.has(code)) return false
    const { at, pauseMs } = this.#next.get(version) ?? { at: 0, pauseMs: FIRST_PAUSE_MS }
    if (now < at) return false
    const longer = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)
    this.#next.set(version, { at: now + pauseMs, pauseMs: longer })
    return true
  }

  /** These were of use. */
  settle(versions: readonly number[]): void {
    for (const version of versions) this.#next.delete(version)
  }
}
