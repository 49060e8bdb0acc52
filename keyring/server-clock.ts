/**
 * The database's clock as far as a process can know it: never later than it really was. Proofs are dated by it, so that
 * none ever looks younger than it is, however wrong this host's own clock may be.
 */
export class ServerClock {
  /** A time of the database, and the monotonic clock when the answer had arrived, which was later. */
  #anchor: { serverMs: number; monotonicMs: number } | null = null

  /** Call it at once when an answer with the database's time is there. */
  set(server: Date): void {
    this.#anchor = { serverMs: server.getTime(), monotonicMs: performance.now() }
  }

  /** What the database's clock had reached at a moment of `performance.now()`; 1970 before it was ever read. */
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
