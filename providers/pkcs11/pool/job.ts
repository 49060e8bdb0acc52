import type { KeyturnError } from '../../../contracts/errors.ts'
import type { LaneReply, LaneRequest } from '../wire/messages.ts'

const BATCH_DEADLINE_MS = 10_000
const PATIENCE_MS = 20_000
/** A page on a slow token takes minutes: batches that wait so long are no sign of trouble. */
const WAIT_MS = 600_000
/** For jobs that a person or an application waits for. */
const URGENT_WAIT_MS = 30_000

export interface JobOptions {
  /** Versions that the lane must have loaded. */
  versions?: readonly number[]
  /** Goes ahead of the waiting batches: a person or an application waits for it. */
  urgent?: boolean
  /** May be sent to a lane that still works on another job (rewrap batches). */
  queueAhead?: boolean
  /** How long a lane may take before its process is killed; default 10 s. */
  deadlineMs?: number
  /** How long it waits while the token is in trouble; default 20 s. */
  patienceMs?: number
  /** How long it may wait for a lane in total; default 30 s when urgent, else 10 minutes. */
  waitMs?: number
  signal?: AbortSignal | undefined
  /** Called when the key of a version is missing, a different key, or unusable. */
  onKeyFault?: (version: number) => void
}

export interface JobAnswer {
  reply: LaneReply
  /** Crypt calls, retries included. */
  calls: number
}

/** A request in the pool, with its failures so far. Settles once. */
export class Job {
  readonly request: LaneRequest
  readonly versions: readonly number[]
  readonly urgent: boolean
  readonly queueAhead: boolean
  readonly deadlineMs: number
  readonly waitMs: number
  /** By performance.now(). */
  readonly expiresAt: number
  readonly answer: Promise<JobAnswer>
  readonly onKeyFault: JobOptions['onKeyFault']
  readonly #signal: AbortSignal | undefined
  readonly #patienceMs: number
  readonly #onLate: (job: Job) => void
  #patience: NodeJS.Timeout | undefined
  readonly #resolve: (answer: JobAnswer) => void
  readonly #reject: (error: unknown) => void
  calls = 0
  /** Lanes lost under it, and faults that a retry should have fixed. */
  losses = 0
  /** Faults that were followed by a pause. */
  setbacks = 0
  settled = false
  isLate = false
  /** The job itself has failed at least once, so another job's success does not stop its patience timer. */
  hadOwnTrouble = false
  trouble: KeyturnError | undefined
  /** When its patience timer started, by performance.now(). */
  troubledAt = Infinity

  /** `onLate` is called when the patience is over and the job is not settled. */
  constructor(request: LaneRequest, options: JobOptions, onLate: (job: Job) => void) {
    this.request = request
    this.versions = options.versions ?? []
    this.urgent = options.urgent ?? false
    this.queueAhead = options.queueAhead ?? false
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
    this.#onLate = onLate
  }

  /** The job failed. Its patience runs from the first failure; time in the queue does not count. */
  onOwnTrouble(trouble: KeyturnError): void {
    this.hadOwnTrouble = true
    this.#startPatience(trouble)
  }

  /** Another job failed while this one waits: its patience runs until a job succeeds. */
  onSharedTrouble(trouble: KeyturnError): void {
    this.#startPatience(trouble)
  }

  /** Another job succeeded. */
  onSharedSuccess(): void {
    if (this.hadOwnTrouble) return
    clearTimeout(this.#patience)
    this.#patience = undefined
    this.trouble = undefined
    this.troubledAt = Infinity
  }

  #startPatience(trouble: KeyturnError): void {
    this.trouble = trouble
    if (this.settled || this.#patience !== undefined) return
    this.troubledAt = performance.now()
    this.#patience = setTimeout(() => {
      this.isLate = true
      this.#onLate(this)
    }, this.#patienceMs)
  }

  get abortReason(): unknown {
    return this.#signal?.reason as unknown
  }

  succeed(reply: LaneReply): void {
    this.#settle()
    this.#resolve({ reply, calls: this.calls })
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
