import type { KeyturnError } from '../../../contracts/errors.ts'
import type { PoolLane } from './lane-set.ts'
import type { Job } from './job.ts'
import type { LaneRequest, Reply } from '../wire/messages.ts'
import { withGrace } from './with-grace.ts'
import type { PoolKeys } from './pool-keys.ts'
import type { PoolStats } from './pool-stats.ts'

const LOAD_DEADLINE_MS = 20_000

/** Asks one lane; rejects with a KeyturnError. After the signal the lane has a short grace, then its child is killed. */
export type LaneAsk = (
  request: LaneRequest,
  deadlineMs: number,
  signal?: AbortSignal,
) => Promise<unknown>

/** Jobs that lanes are at work on. */
export class InFlight {
  readonly #jobs = new Set<Job>()
  readonly #keys: PoolKeys
  readonly #stats: PoolStats
  readonly #onThrottled: () => void

  /** `onThrottled` hears of each reply during which the token throttled, even where the lane mended it by itself. */
  constructor(keys: PoolKeys, stats: PoolStats, onThrottled: () => void) {
    this.#keys = keys
    this.#stats = stats
    this.#onThrottled = onThrottled
  }

  /**
   * Has the lane load the keys it lacks, which no job pays for (a budget must reach exactly), then do the job. Null when the
   * job was given up meanwhile. Rejects with LaneLost.
   */
  async run(job: Job, lane: PoolLane): Promise<Reply | null> {
    this.#jobs.add(job)
    lane.inFlight += 1
    try {
      for (const { request, seen } of this.#keys.unseen(job.versions, lane)) {
        const reply = await this.ask(lane, request, LOAD_DEADLINE_MS)
        if (reply.fault !== null) return reply
        seen()
      }
      // Given up: its bytes are overwritten already.
      return job.settled ? null : await this.ask(lane, job.request, job.deadlineMs, job)
    } finally {
      lane.inFlight -= 1
      this.#jobs.delete(job)
    }
  }

  /** Rejects with LaneLost, also when its child was killed because `signal` came and the grace was over. */
  async ask(
    lane: PoolLane,
    request: LaneRequest,
    deadlineMs: number,
    job?: { calls: number },
    signal?: AbortSignal,
  ): Promise<Reply> {
    const { host, number } = lane
    const giveUp = (): void => host.kill()
    const reply = await withGrace(signal, giveUp, () => host.ask(number, request, deadlineMs))
    if (job !== undefined) job.calls += reply.calls
    if (this.#stats.add(reply)) this.#onThrottled()
    return reply
  }

  /** Resolves when all that are in flight now have been answered. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#jobs].map((job) => job.answer))
  }

  failAll(error: KeyturnError): void {
    for (const job of this.#jobs) job.fail(error)
  }
}
