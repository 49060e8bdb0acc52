/** Lanes that one answer of throttling may take off: those in flight answer the same for the same moment. */
const ONE_MOMENT_MS = 250
/** Batches that must succeed before one more lane may work again. */
const CALM = 10

/**
 * How many lanes may be at work at once: additive increase, multiplicative decrease, as TCP does it (RFC 5681). All of
 * them until the token throttles for the first time.
 */
export class Concurrency {
  #allowed = Infinity
  #calm = 0
  #halvedAt = -Infinity
  #pausedUntil = 0

  get allowed(): number {
    return this.#allowed
  }

  get isPaused(): boolean {
    return performance.now() < this.#pausedUntil
  }

  /** The token throttles while so many lanes are at work. */
  halve(busy: number): void {
    this.#calm = 0
    const now = performance.now()
    if (now - this.#halvedAt < ONE_MOMENT_MS) return
    this.#halvedAt = now
    this.#allowed = Math.max(1, Math.floor(Math.min(this.#allowed, busy) / 2))
  }

  /** A batch went well; `most` are the lanes that may be open. */
  succeed(most: number): void {
    if (this.#allowed === Infinity || ++this.#calm < CALM) return
    this.#calm = 0
    this.#allowed += 1
    if (this.#allowed >= most) this.#allowed = Infinity
  }

  /** Nobody begins anything before this time is over; `then` is called after it. */
  pause(milliseconds: number, then: () => void): void {
    if (milliseconds <= 0) return
    this.#pausedUntil = Math.max(this.#pausedUntil, performance.now() + milliseconds)
    setTimeout(then, milliseconds + 1)
  }
}
