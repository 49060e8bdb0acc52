import type { KeyturnError } from '../../../contracts/errors.ts'
import type { Job } from './job.ts'
import type { JobQueue } from './queue.ts'

/** A throttling token lets some calls pass. After so many throttled replies in a row the client library may be dead. */
const DEAD_AFTER_THROTTLED = 5

/** The token's last error, and since when no job has succeeded. */
export interface Trouble {
  error: KeyturnError
  since: Date
}

/**
 * Whether any job succeeds on the token. While none does, the patience of all waiting jobs runs, not only of those that
 * had a turn: with few lanes and long pauses a turn may be minutes away.
 */
export class TokenHealth {
  readonly #queue: JobQueue
  #throttledInRow = 0
  trouble: Trouble | null = null
  /** When any job last succeeded, by performance.now(). */
  #succeededAt = -Infinity
  #failedAt = -Infinity

  constructor(queue: JobQueue) {
    this.#queue = queue
  }

  /** A job failed and will be retried. */
  recordFailure(error: KeyturnError): void {
    this.#failedAt = performance.now()
    this.trouble = { error, since: this.trouble?.since ?? new Date() }
    for (const job of this.#queue.all()) job.onSharedTrouble(error)
  }

  recordSuccess(): void {
    this.#throttledInRow = 0
    this.#succeededAt = performance.now()
    if (this.trouble === null) return
    this.trouble = null
    for (const job of this.#queue.all()) job.onSharedSuccess()
  }

  /** Starts the patience of a new job if the token is in trouble. */
  addWaiting(job: Job): void {
    if (this.trouble !== null) job.onSharedTrouble(this.trouble.error)
  }

  /**
   * Whether to fail a job whose patience is over: the job itself, or another one since it began to wait, has failed, and
   * none has succeeded since.
   */
  isHopeless(job: Job): boolean {
    const wasTried = job.hadOwnTrouble || this.#failedAt > job.troubledAt
    return job.isLate && wasTried && this.#succeededAt <= job.troubledAt
  }

  /** Counts a throttled reply; true at every fifth in a row, when the client library may be dead. */
  recordThrottled(): boolean {
    return ++this.#throttledInRow % DEAD_AFTER_THROTTLED === 0
  }
}
