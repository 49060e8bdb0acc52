/**
 * An estimate of the database's clock that is never ahead of it. Proofs are dated with it, so that no proof looks younger than
 * it is, however wrong this host's own clock is.
 */
export class ServerClock {
  /** A time of the database, and the monotonic clock when the answer arrived, which is later. */
  #anchor: { serverMs: number; monotonicMs: number } | null = null

  /** Call it as soon as an answer with the database's time arrives. */
  set(server: Date): void {
    this.#anchor = { serverMs: server.getTime(), monotonicMs: performance.now() }
  }

  /** The database's time at a moment of `performance.now()`; 1970 before the clock was read. */
  at(monotonicMs: number): Date {
    if (this.#anchor === null) return new Date(0)
    return new Date(Math.floor(this.#anchor.serverMs + monotonicMs - this.#anchor.monotonicMs))
  }

  /** The moment of `performance.now()` next to `monotonicMs` at which this clock shows a multiple of `stepMs`. */
  nearestTick(monotonicMs: number, stepMs: number): number {
    const shown = this.at(monotonicMs).getTime()
    return monotonicMs + Math.round(shown / stepMs) * stepMs - shown
  }
}
