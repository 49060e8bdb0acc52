import type { KeyturnError } from '../../../contracts/errors.ts'
import type { LaneRequest } from '../wire/messages.ts'

const BATCH_DEADLINE_MS = 10_000
const PATIENCE_MS = 20_000
/** A page on a slow token is minutes of work: those of its batches that wait are no sign of trouble. */
const WAIT_MS = 600_000
/** What a person or an application waits for. */
const URGENT_WAIT_MS = 30_000

export interface JobOptions {
  /** Versions that the lane must have loaded. */
  versions?: readonly number[]
  /** Before the batches that wait: what a person or an application waits for. */
  urgent?: boolean
  /** May wait in a lane behind another one (rewrap batches). */
  ahead?: boolean
  /** How long a lane may take before its process is killed; default 10 s. */
  deadlineMs?: number
  /** How long it waits for a token in trouble; default 20 s. */
  patienceMs?: number
  /** How long it may wait for a lane in all; default 30 s when urgent, else 10 minutes. */
  waitMs?: number
  signal?: AbortSignal | undefined
  /** Called when the key of a version proved to be missing, another one, or useless. */
  onKeyFault?: (version: number) => void
}

export interface JobAnswer {
  value: unknown
  /** Crypt calls, those of repeats included. */
  calls: number
}

/** A request on its way through the pool, with what it has met so far. Settles once. */
export class Job {
  readonly request: LaneRequest
  readonly versions: readonly number[]
  readonly urgent: boolean
  readonly ahead: boolean
  readonly deadlineMs: number
  readonly waitMs: number
  /** By performance.now(). */
  readonly expiresAt: number
  readonly answer: Promise<JobAnswer>
  readonly onKeyFault: JobOptions['onKeyFault']
  readonly #signal: AbortSignal | undefined
  readonly #patienceMs: number
  readonly #late: (job: Job) => void
  #patience: NodeJS.Timeout | undefined
  readonly #resolve: (answer: JobAnswer) => void
  readonly #reject: (error: unknown) => void
  calls = 0
  /** Lanes that were lost under it, or faults that a repeat should have mended. */
  losses = 0
  /** Faults that made it wait. */
  setbacks = 0
  settled = false
  isLate = false
  /** Its patience began with trouble of its own, which the luck of others does not take away. */
  isHit = false
  trouble: KeyturnError | undefined
  /** When its patience began, by performance.now(). */
  troubledAt = Infinity

  /** `late` is told when the patience has run out and the job is not settled. */
  constructor(request: LaneRequest, options: JobOptions, late: (job: Job) => void) {
    this.request = request
    this.versions = options.versions ?? []
    this.urgent = options.urgent ?? false
    this.ahead = options.ahead ?? false
    this.deadlineMs = options.deadlineMs ?? BATCH_DEADLINE_MS
    this.waitMs = options.waitMs ?? (this.urgent ? URGENT_WAIT_MS : WAIT_MS)
    this.expiresAt = performance.now() + this.waitMs
    this.onKeyFault = options.onKeyFault
    this.#signal = options.signal
    const { promise, resolve, reject } = withResolvers<JobAnswer>()
    this.answer = promise
    this.#resolve = resolve
    this.#reject = reject
    this.#patienceMs = options.patienceMs ?? PATIENCE_MS
    this.#late = late
  }

  /** It met trouble itself: from the first time on its patience runs. Waiting for a turn does not count. */
  meet(trouble: KeyturnError): void {
    this.isHit = true
    this.#lose(trouble)
  }

  /** Others met trouble while it waits: its patience runs until something succeeds. */
  hearOf(trouble: KeyturnError): void {
    this.#lose(trouble)
  }

  /** Something has succeeded. */
  takeHeart(): void {
    if (this.isHit) return
    clearTimeout(this.#patience)
    this.#patience = undefined
    this.trouble = undefined
    this.troubledAt = Infinity
  }

  #lose(trouble: KeyturnError): void {
    this.trouble = trouble
    if (this.settled || this.#patience !== undefined) return
    this.troubledAt = performance.now()
    this.#patience = setTimeout(() => {
      this.isLate = true
      this.#late(this)
    }, this.#patienceMs)
  }

  get abortReason(): unknown {
    return this.#signal?.reason as unknown
  }

  succeed(value: unknown): void {
    this.#settle()
    this.#resolve({ value, calls: this.calls })
  }

  fail(error: unknown): void {
    this.#settle()
    this.#reject(error)
  }

  #settle(): void {
    this.settled = true
    clearTimeout(this.#patience)
  }
}

/** Promise.withResolvers, which Node 20 lacks. */
function withResolvers<T>(): {
  promise: Promise<T>
  resolve: (value: T) => void
  reject: (error: unknown) => void
} {
  let resolve!: (value: T) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<T>((done, failed) => {
    resolve = done
    reject = failed
  })
  return { promise, resolve, reject }
}
