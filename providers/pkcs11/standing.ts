import type { KeyturnError } from '../../contracts/errors.ts'
import type { Job } from './pool/job.ts'
import type { JobQueue } from './pool/queue.ts'

/** A throttled token lets something pass now and then; one that answers so often in vain may be dead. */
const BARREN_REPLIES = 5

/** What the token answers instead of working, and since when nothing has succeeded. */
export interface Trouble {
  error: KeyturnError
  since: Date
}

/**
 * Whether the token does anything at all for anybody. While it does not, the patience of all jobs that wait runs, not only of
 * those that had their turn: with few lanes and long pauses a turn may be minutes away.
 */
export class Standing {
  readonly #queue: JobQueue
  #barren = 0
  trouble: Trouble | null = null
  /** Of anybody, by performance.now(). */
  #succeededAt = -Infinity
  #failedAt = -Infinity

  constructor(queue: JobQueue) {
    this.#queue = queue
  }

  /** Something is to be tried again. */
  failed(error: KeyturnError): void {
    this.#failedAt = performance.now()
    this.trouble = { error, since: this.trouble?.since ?? new Date() }
    for (const job of this.#queue.all()) job.hearOf(error)
  }

  succeeded(): void {
    this.#barren = 0
    this.#succeededAt = performance.now()
    if (this.trouble === null) return
    this.trouble = null
    for (const job of this.#queue.all()) job.takeHeart()
  }

  /** For a job that begins to wait. */
  tell(job: Job): void {
    if (this.trouble !== null) job.hearOf(this.trouble.error)
  }

  /**
   * Whether a job whose patience is over shall not have another turn: it, or somebody since it waits, was refused, and
   * nobody has got on since then.
   */
  isHopeless(job: Job): boolean {
    const wasTried = job.isHit || this.#failedAt > job.troubledAt
    return job.isLate && wasTried && this.#succeededAt <= job.troubledAt
  }

  /** One more throttled reply: true when so many came in a row that the client library may be dead. */
  isBarren(): boolean {
    return ++this.#barren % BARREN_REPLIES === 0
  }
}
