import type { ServerClock } from './server-clock.ts'

/** The beats of all processes fall on common ticks, this many in an interval: every two seconds at 30 s. */
const ticksInInterval = 15

/**
 * Runs one beat at a time: once in each interval, and on request. A request during a beat gets the next beat, which all
 * waiting requests share: a beat that began before the request may have read older data.
 *
 * The loop's own beats fall on ticks of the database's clock. In a large fleet many then come together, share a write of the
 * journal and cost the server half as much. A tick is short enough not to be a load peak.
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
    /** Called when one of the loop's own beats fails. A requested beat rejects to its caller instead. */
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

  /** Resolves when no beat runs any more. */
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

  /** When the next beat is due after one that began at `begunMs`; both by `performance.now()`. */
  #dueMs(begunMs: number): number {
    const intervalMs = this.#intervalMs()
    return this.#clock.nearestTick(begunMs + intervalMs, intervalMs / ticksInInterval)
  }

  #schedule(pauseMs: number): void {
    if (this.#isStopped) return
    const beat = () => void this.run().catch(this.#onFailure)
    this.#timer = setTimeout(beat, Math.max(pauseMs, 0))
    // A heartbeat alone must not keep an application alive.
    this.#timer.unref()
  }
}

/** The pause after a failure, in ms: several tries in an interval, so that a short outage costs no lease. */
function retryPause(intervalMs: number): number {
  return Math.min(intervalMs, Math.max(intervalMs / 6, 250))
}
