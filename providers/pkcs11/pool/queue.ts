import { KeyturnError } from '../../../contracts/errors.ts'
import type { Job } from './job.ts'

/** A batch holds tens of kilobytes. A longer queue means that something is wrong, and would use up memory. */
const MOST_WAITING = 10_000
const EXPIRE_EVERY_MS = 250

/**
 * Jobs that wait for a lane; urgent and retried jobs go first. The queue has a maximum length, and each job a deadline
 * (`Job.waitMs`). Both limits fail jobs with `hsm-busy`, which may be retried later.
 */
export class JobQueue {
  readonly #jobs: Job[] = []
  readonly #most: number
  #watch: NodeJS.Timeout | undefined

  constructor(most: number = MOST_WAITING) {
    this.#most = most
  }

  get length(): number {
    return this.#jobs.length
  }

  get first(): Job | undefined {
    return this.#jobs[0]
  }

  /** Fails the job if the queue is full. */
  add(job: Job): void {
    if (this.#jobs.length >= this.#most) {
      job.fail(busy(`${this.#most} batches wait for the HSM already`))
      return
    }
    if (job.urgent) this.#jobs.unshift(job)
    else this.#jobs.push(job)
    this.#watch ??= setInterval(() => this.#expire(), EXPIRE_EVERY_MS)
  }

  /** Puts a job that is retried at the front. */
  putBack(job: Job): void {
    this.#jobs.unshift(job)
    this.#watch ??= setInterval(() => this.#expire(), EXPIRE_EVERY_MS)
  }

  takeFirst(): void {
    this.#jobs.shift()
    this.#stopWhenEmpty()
  }

  has(job: Job): boolean {
    return this.#jobs.includes(job)
  }

  /** Fails a job, and removes it if it is in the queue. */
  fail(job: Job, error: unknown): void {
    const at = this.#jobs.indexOf(job)
    if (at >= 0) this.#jobs.splice(at, 1)
    job.fail(error)
    this.#stopWhenEmpty()
  }

  /** A copy of the queue. */
  all(): readonly Job[] {
    return [...this.#jobs]
  }

  failAll(error: KeyturnError): void {
    for (const job of this.#jobs.splice(0)) job.fail(error)
    this.#stopWhenEmpty()
  }

  #expire(): void {
    const now = performance.now()
    for (const job of this.#jobs.filter(({ expiresAt }) => expiresAt <= now)) {
      this.fail(job, job.trouble ?? busy(`no session was free within ${job.waitMs / 1000} s`))
    }
  }

  #stopWhenEmpty(): void {
    if (this.#jobs.length > 0) return
    clearInterval(this.#watch)
    this.#watch = undefined
  }
}

function busy(message: string): KeyturnError {
  return new KeyturnError('hsm-busy', message, {
    hint: 'raise kek.pkcs11.max_sessions, or look at why the HSM is slow (keyturn_hsm_* of /metrics)',
  })
}
