/** Calls in flight report the same throttling, so the limit is halved at most once in this time. */
const HALVE_AT_MOST_EVERY_MS = 250
/** Batches that must succeed before one more lane may work. */
const SUCCESSES_PER_LANE = 10

/**
 * How many lanes may work at once: additive increase, multiplicative decrease, as in TCP (RFC 5681). There is no limit
 * until the token throttles for the first time.
 */
export class Concurrency {
  #allowed = Infinity
  #successes = 0
  #halvedAt = -Infinity
  #pausedUntil = 0

  get allowed(): number {
    return this.#allowed
  }

  get isPaused(): boolean {
    return performance.now() < this.#pausedUntil
  }

  /** The token throttled while `busy` lanes were working. */
  halve(busy: number): void {
    this.#successes = 0
    const now = performance.now()
    if (now - this.#halvedAt < HALVE_AT_MOST_EVERY_MS) return
    this.#halvedAt = now
    this.#allowed = Math.max(1, Math.floor(Math.min(this.#allowed, busy) / 2))
  }

  /** A batch succeeded; `most` is how many lanes may be open. */
  succeed(most: number): void {
    if (this.#allowed === Infinity || ++this.#successes < SUCCESSES_PER_LANE) return
    this.#successes = 0
    this.#allowed += 1
    if (this.#allowed >= most) this.#allowed = Infinity
  }

  /** Starts no job for this long, then calls `then`. */
  pause(milliseconds: number, then: () => void): void {
    if (milliseconds <= 0) return
    this.#pausedUntil = Math.max(this.#pausedUntil, performance.now() + milliseconds)
    setTimeout(then, milliseconds + 1)
  }
}
