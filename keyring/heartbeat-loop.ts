import type { ServerClock } from './server-clock.ts'

/** The beats of all processes fall on common moments, so many in an interval: every other second at 30 s. */
const ticksInInterval = 15

/**
 * Runs one beat at a time: on its own each interval, and when asked. Who asks while one runs gets the next one, shared
 * with everybody else who waits: a beat that had begun before the question answers nothing.
 *
 * Those of its own fall on ticks of the database's clock. In a large fleet many come together then, share a write of the
 * journal and find the server awake, and cost it half as much; a tick is small enough that nobody feels them.
 */
export class HeartbeatLoop {
  readonly #beat: () => Promise<void>
  readonly #intervalMs: () => number
  readonly #clock: ServerClock
  readonly #onFailure: (error: unknown) => void
  #running: Promise<void> | null = null
  #next: Promise<void> | null = null
  #timer: NodeJS.Timeout | null = null
  #isStopped = false

  constructor(options: {
    beat: () => Promise<void>
    intervalMs: () => number
    clock: ServerClock
    /** Hears of the failures of the loop's own beats; who asked for one hears of it itself. */
    onFailure: (error: unknown) => void
  }) {
    this.#beat = options.beat
    this.#intervalMs = options.intervalMs
    this.#clock = options.clock
    this.#onFailure = options.onFailure
  }

  get isStopped(): boolean {
    return this.#isStopped
  }

  get isBusy(): boolean {
    return this.#running !== null
  }

  run(): Promise<void> {
    if (this.#next !== null) return this.#next
    if (this.#running === null) return this.#start()
    const begin = () => {
      this.#next = null
      return this.#start()
    }
    this.#next = this.#running.then(begin, begin)
    return this.#next
  }

  /** Ends when no beat runs any more. */
  async stop(): Promise<void> {
    this.#isStopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    await Promise.allSettled([this.#next, this.#running])
  }

  #start(): Promise<void> {
    const begunMs = performance.now()
    if (this.#timer !== null) clearTimeout(this.#timer)
    const running = this.#beat()
      .then(
        () => this.#schedule(this.#dueMs(begunMs) - performance.now()),
        (error: unknown) => {
          this.#schedule(retryPause(this.#intervalMs()))
          throw error
        },
      )
      .finally(() => (this.#running = null))
    this.#running = running
    return running
  }

  /** When the beat after one that began then is due; both by `performance.now()`. */
  #dueMs(begunMs: number): number {
    const intervalMs = this.#intervalMs()
    return this.#clock.nearestTick(begunMs + intervalMs, intervalMs / ticksInInterval)
  }

  #schedule(pauseMs: number): void {
    if (this.#isStopped) return
    const beat = () => void this.run().catch(this.#onFailure)
    this.#timer = setTimeout(beat, Math.max(pauseMs, 0))
    // A heartbeat alone is no reason for an application to go on.
    this.#timer.unref()
  }
}

/** After a failure: several tries within a heartbeat, so that a short outage costs no lease; ms. */
function retryPause(intervalMs: number): number {
  return Math.min(intervalMs, Math.max(intervalMs / 6, 250))
}
