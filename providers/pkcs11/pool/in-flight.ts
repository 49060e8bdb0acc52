import type { KeyturnError } from '../../../contracts/errors.ts'
import type { PoolLane } from './lane-set.ts'
import type { Job } from './job.ts'
import type { LaneReply, LaneRequest, ReplyTo } from '../wire/messages.ts'
import { withGrace } from './with-grace.ts'
import type { PoolKeys } from './pool-keys.ts'
import type { PoolStats } from './pool-stats.ts'

const LOAD_DEADLINE_MS = 20_000

/** Sends a request to one lane; rejects with a KeyturnError. After an abort the lane gets a short grace period, then its child is killed. */
export type SendToLane = <R extends LaneRequest>(
  request: R,
  deadlineMs: number,
  signal?: AbortSignal,
) => Promise<ReplyTo<R>>

/** Jobs that lanes are working on. */
export class InFlight {
  readonly #jobs = new Set<Job>()
  readonly #keys: PoolKeys
  readonly #stats: PoolStats
  readonly #onThrottled: () => void

  /** `onThrottled` is called for each reply during which the token throttled, even if the lane's own retry succeeded. */
  constructor(keys: PoolKeys, stats: PoolStats, onThrottled: () => void) {
    this.#keys = keys
    this.#stats = stats
    this.#onThrottled = onThrottled
  }

  /**
   * Loads the keys that the lane lacks, then runs the job. Calls for loading do not count for the job, so that a budget of
   * calls is exact. Null when the job was settled in the meantime. Rejects with LaneLost.
   */
  async run(job: Job, lane: PoolLane): Promise<LaneReply | null> {
    this.#jobs.add(job)
    lane.inFlight += 1
    try {
      for (const { request, seen } of this.#keys.unseen(job.versions, lane)) {
        const reply = await this.send(lane, request, LOAD_DEADLINE_MS)
        if (reply.fault !== null) return reply
        seen()
      }
      // A settled job's bytes are already overwritten.
      return job.settled ? null : await this.send(lane, job.request, job.deadlineMs, job)
    } finally {
      lane.inFlight -= 1
      this.#jobs.delete(job)
    }
  }

  /** Rejects with LaneLost, also when the child was killed at the end of the grace period after `signal`. */
  async send(
    lane: PoolLane,
    request: LaneRequest,
    deadlineMs: number,
    job?: { calls: number },
    signal?: AbortSignal,
  ): Promise<LaneReply> {
    const { host, number } = lane
    const giveUp = (): void => host.kill()
    const reply = await withGrace(signal, giveUp, () => host.send(number, request, deadlineMs))
    if (job !== undefined) job.calls += reply.calls
    if (this.#stats.add(reply)) this.#onThrottled()
    return reply
  }

  /** Resolves when all jobs that are in flight now have been answered. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#jobs].map((job) => job.answer))
  }

  failAll(error: KeyturnError): void {
    for (const job of this.#jobs) job.fail(error)
  }
}
