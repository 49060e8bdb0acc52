/** How far back the rate looks, in milliseconds: long enough to be calm, short enough to notice a pause. */
const windowMs = 5000

/** Progress that has not changed for so long stands still, in milliseconds. */
const standsStillMs = 60_000

/** Notices when nothing moves any more. */
export class Standstill {
  #last = ''
  #since = new Date()

  /** Since when `state` has been the same; null while it changes within a minute. */
  since(state: string, now = new Date()): Date | null {
    if (state !== this.#last) {
      this.#last = state
      this.#since = now
    }
    return now.getTime() - this.#since.getTime() >= standsStillMs ? this.#since : null
  }
}

/** Envelopes a second from successive counts. A new phase starts a new measurement: the wait before it is not part of the speed. */
export class RateMeter {
  private samples: { at: number; done: number }[] = []
  private phase = ''

  /** Takes a sample and answers the rate over the last seconds; 0 until two samples of this phase are there. */
  rate(done: number, phase: string, at: number = performance.now()): number {
    if (phase !== this.phase) this.samples = []
    this.phase = phase
    this.samples.push({ at, done })
    this.samples = this.samples.filter((sample) => at - sample.at <= windowMs)
    const [first] = this.samples
    if (first === undefined || at === first.at) return 0
    return Math.max(0, ((done - first.done) * 1000) / (at - first.at))
  }
}
