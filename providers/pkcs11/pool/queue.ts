import { KeyturnError } from '../../../contracts/errors.ts'
import type { Job } from './job.ts'

/** Batches hold tens of kilobytes: with more than these waiting something is wrong, and memory is what would tell. */
const MOST_WAITING = 10_000
const LOOK_EVERY_MS = 250

/**
 * Jobs that wait for a lane: what is urgent or is repeated stands before the rest. It has a limit, and each job a
 * deadline (`Job.waitMs`); both end in `hsm-busy`, which is worth another attempt later.
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

  /** Fails the job instead when too many wait already. */
  add(job: Job): void {
    if (this.#jobs.length >= this.#most) {
      job.fail(busy(`${this.#most} batches wait for the HSM already`))
      return
    }
    if (job.urgent) this.#jobs.unshift(job)
    else this.#jobs.push(job)
    this.#watch ??= setInterval(() => this.#expire(), LOOK_EVERY_MS)
  }

  /** A job that had its turn, and is to have another one before all others. */
  putBack(job: Job): void {
    this.#jobs.unshift(job)
    this.#watch ??= setInterval(() => this.#expire(), LOOK_EVERY_MS)
  }

  takeFirst(): void {
    this.#jobs.shift()
    this.#rest()
  }

  has(job: Job): boolean {
    return this.#jobs.includes(job)
  }

  /** Fails a job, and takes it out if it waits here. */
  fail(job: Job, error: unknown): void {
    const at = this.#jobs.indexOf(job)
    if (at >= 0) this.#jobs.splice(at, 1)
    job.fail(error)
    this.#rest()
  }

  /** Those that wait now. */
  all(): readonly Job[] {
    return [...this.#jobs]
  }

  failAll(error: KeyturnError): void {
    for (const job of this.#jobs.splice(0)) job.fail(error)
    this.#rest()
  }

  #expire(): void {
    const now = performance.now()
    for (const job of this.#jobs.filter(({ expiresAt }) => expiresAt <= now)) {
      this.fail(job, job.trouble ?? busy(`no session was free within ${job.waitMs / 1000} s`))
    }
  }

  #rest(): void {
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
