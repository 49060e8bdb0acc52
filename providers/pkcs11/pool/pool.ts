import { setTimeout as pause } from 'node:timers/promises'
import { KeyturnError } from '../../../contracts/errors.ts'
import { Concurrency } from './concurrency.ts'
import { LaneSet, openError, type LaneSetOptions, type PoolLane } from './lane-set.ts'
import { KeyRechecks } from './key-rechecks.ts'
import { away, errorFrom, providerClosed, type Fault } from '../wire/errors.ts'
import { InFlight, type AskLane } from './in-flight.ts'
import { LaneOpener } from './lane-opener.ts'
import { withGrace } from './with-grace.ts'
import { Job, type JobAnswer, type JobOptions } from './job.ts'
import { LaneLost } from './lane-host.ts'
import type { LaneRequest, LoadRequest } from '../wire/messages.ts'
import { PoolKeys } from './pool-keys.ts'
import { JobQueue } from './queue.ts'
import { lossError, policyForFault, policyForLoss, type FaultPolicy } from './fault-policy.ts'
import { TokenHealth, type Trouble } from './token-health.ts'
import { PoolStats } from './pool-stats.ts'

/**
 * All work goes through `run`. Jobs wait in one queue. Each goes to the lane with the fewest jobs, and is retried in
 * another lane when its lane is lost or the token throttles. Only errors that no retry can fix reach the caller.
 *
 * Keys belong to the pool: `setKey` gives a version a new generation, and each lane looks the key up and opens the canary
 * before its first batch of a generation. A lane that is opened after a reconnect has seen no generation. So no handle
 * outlives its session, and a token that came back with other keys writes nothing.
 *
 * A reconnect is always a new child process: it clears all state of the module, whether after a crash, a hang or a lost
 * device.
 */

const DRAIN_MS = 5_000

export class LanePool {
  readonly #options: LaneSetOptions
  readonly #laneSet: LaneSet
  readonly #opener: LaneOpener
  readonly #queue: JobQueue
  readonly #keys = new PoolKeys()
  readonly #concurrency = new Concurrency()
  readonly #rechecks = new KeyRechecks()
  readonly #health: TokenHealth
  /** Why no further lane can be opened: a refused PIN. */
  #final: KeyturnError | undefined
  #closed: Promise<void> | undefined
  readonly stats = new PoolStats()
  readonly #inFlight = new InFlight(this.#keys, this.stats, () => this.#throttled())

  private constructor(options: LaneSetOptions) {
    this.#options = options
    this.#laneSet = new LaneSet(options)
    this.#queue = new JobQueue(options.mostWaiting)
    this.#health = new TokenHealth(this.#queue)
    this.#opener = new LaneOpener(this.#laneSet, options.log, {
      onFinal: (error) => this.#failForGood(error),
      onTrouble: (error) => this.#failed(error),
      onEnd: () => this.#pump(),
    })
  }

  /** Opens the first lane. Throws the coded error of module, token or PIN, and ends within the grace period after an abort. */
  static async open(options: LaneSetOptions, signal?: AbortSignal): Promise<LanePool> {
    const pool = new LanePool(options)
    const giveUp = (): void => void pool.#laneSet.close()
    try {
      await withGrace(signal, giveUp, () => pool.#laneSet.open())
      return pool
    } catch (error) {
      await pool.#laneSet.close()
      throw openError(error)
    }
  }

  get token(): LaneSet['token'] {
    return this.#laneSet.token
  }

  get sessions(): number {
    return this.#laneSet.lanes.length
  }

  get waiting(): number {
    return this.#queue.length
  }

  /** The current child processes; for tests and logs. */
  get pids(): number[] {
    return [...new Set(this.#laneSet.lanes.map((lane) => lane.host.pid ?? 0))]
  }

  /** How many lanes a page should be divided among. */
  get lanes(): number {
    return this.#laneSet.usefulLanes(this.#concurrency.allowed)
  }

  get callMs(): number | null {
    return this.#laneSet.callMs
  }

  get trouble(): Trouble | null {
    return this.#health.trouble
  }

  /** Each lane loads this key again before it next uses the version. */
  setKey(request: LoadRequest): void {
    this.#keys.set(request)
  }

  dropKey(version: number): void {
    this.#keys.drop(version)
  }

  /** Runs a request in some lane. Rejects with a KeyturnError, or with the signal's reason. */
  run(request: LaneRequest, options: JobOptions = {}): Promise<JobAnswer> {
    const refusal = this.#refusal()
    if (refusal !== undefined) return Promise.reject(refusal)
    const job = new Job(request, options, (late) => this.#onPatienceOver(late))
    const { answer } = job
    this.#queue.add(job)
    this.#health.addWaiting(job)
    const { signal } = options
    const abort = (): void => this.#queue.fail(job, job.abortReason)
    signal?.addEventListener('abort', abort, { once: true })
    if (signal?.aborted === true) abort()
    this.#pump()
    return answer.finally(() => signal?.removeEventListener('abort', abort))
  }

  /**
   * Sends requests that belong together to one lane, without retries: a failure rejects with its coded error. The lane
   * serves batches in between.
   */
  async inOneLane<T>(use: (ask: AskLane) => Promise<T>): Promise<T> {
    const refusal = this.#refusal()
    if (refusal !== undefined) throw refusal
    const lane =
      this.#laneSet.lanes[0] ??
      (await this.#laneSet.open().catch((error: unknown) => {
        throw openError(error)
      }))
    return use(async (request, deadlineMs, signal) => {
      const asked = this.#inFlight.ask(lane, request, deadlineMs, undefined, signal)
      const reply = await asked.catch((error: unknown) => {
        if (!(error instanceof LaneLost)) throw error
        this.#lose(lane, error.message)
        throw lossError(error)
      })
      if (reply.fault === null) return reply.value
      throw errorFrom(reply.fault)
    })
  }

  /** Waits up to 5 s for the batches in flight, then ends all children. Later calls reject with pool-closed. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    const closed = providerClosed()
    this.#queue.failAll(closed)
    this.#opener.stop()
    const quiet = Promise.all([this.#inFlight.settled(), this.#opener.running])
    const drained = new AbortController()
    await Promise.race([
      quiet,
      pause(DRAIN_MS, undefined, { signal: drained.signal }).catch(() => null),
    ])
    drained.abort()
    await this.#laneSet.close()
    this.#inFlight.failAll(closed)
  }

  get closed(): boolean {
    return this.#closed !== undefined
  }

  #refusal(): KeyturnError | undefined {
    return this.closed ? providerClosed() : this.#final
  }

  #pump(): void {
    if (this.#closed !== undefined) return
    for (const lane of [...this.#laneSet.lanes]) {
      if (!lane.host.alive) this.#lose(lane, 'the lane process ended')
    }
    for (let job = this.#queue.first; job && !this.#concurrency.isPaused; job = this.#queue.first) {
      const lane = this.#laneSet.laneFor(job, this.#concurrency.allowed)
      if (lane === undefined) break
      this.#queue.takeFirst()
      void this.#runJob(job, lane)
    }
    if (this.#queue.length > 0 && this.#laneSet.lanes.length < this.lanes) this.#opener.start()
  }

  async #runJob(job: Job, lane: PoolLane): Promise<void> {
    try {
      const reply = await this.#inFlight.run(job, lane)
      if (reply === null) return
      if (job.queueAhead) this.#laneSet.measure(reply)
      if (reply.fault !== null) this.#onFault(job, lane, reply.fault)
      else {
        lane.isFresh = false
        this.#rechecks.clear(job.versions)
        job.succeed(reply.value)
        // A reply without a crypt call does not show that crypt calls work.
        if (reply.calls > 0) this.#health.recordSuccess()
        this.#concurrency.succeed(this.#laneSet.maxLanes)
      }
    } catch (error) {
      if (!(error instanceof LaneLost)) {
        job.fail(new KeyturnError('internal', `the pool failed: ${String(error)}`))
      } else this.#apply(policyForLoss(error, job), job, lane, this.#causeOf(error))
    } finally {
      this.#pump()
    }
  }

  /** When a lane was replaced because of another job, report that job's error. */
  #causeOf(lost: LaneLost): KeyturnError {
    const known = lost.why === 'discarded' ? this.trouble?.error : undefined
    return known ?? lossError(lost)
  }

  #throttled(): void {
    this.#concurrency.halve(this.#laneSet.busy)
  }

  #onFault(job: Job, lane: PoolLane, fault: Fault): void {
    const { version, code } = fault
    if (version !== undefined && !lane.isFresh && this.#rechecks.isDue(code, version)) {
      const again: FaultPolicy = { lane: 'replace', concurrency: 'keep', pauseMs: 0, job: 'again' }
      this.#apply(again, job, lane, errorFrom(fault))
      return
    }
    if (version !== undefined) job.onKeyFault?.(version)
    const policy = policyForFault(fault, job)
    // A throttling token lets some calls pass; a dead client library may answer with the same code but passes none.
    const isDead = fault.fault === 'back-off' && this.#health.recordThrottled()
    this.#apply(isDead ? { ...policy, lane: 'replace' } : policy, job, lane, errorFrom(fault))
  }

  #apply(policy: FaultPolicy, job: Job, lane: PoolLane, error: KeyturnError): void {
    if (policy.lane === 'replace') this.#lose(lane, error.message)
    if (policy.concurrency === 'halve') this.#throttled()
    this.#concurrency.pause(policy.pauseMs, () => this.#pump())
    if (policy.job === 'fail') job.fail(error)
    else this.#retry(job, error)
  }

  /** Puts a job back at the front of the queue, unless its patience is over or the pool is closed. */
  #retry(job: Job, error: KeyturnError): void {
    this.#failed(error)
    if (job.settled) return
    const refusal = this.#refusal()
    job.onOwnTrouble(error)
    if (refusal !== undefined) job.fail(refusal)
    else if (job.isLate) job.fail(away(error))
    else this.#queue.putBack(job)
  }

  #lose(lane: PoolLane, why: string): void {
    if (!this.#laneSet.lanes.includes(lane)) return
    this.stats.reconnects += 1
    this.#options.log.warn({ pid: lane.host.pid, why }, 'lane process replaced')
    this.#laneSet.lose(lane.host)
  }

  /** The PIN was refused: all jobs fail with this error from now on, without another login. */
  #failForGood(error: KeyturnError): void {
    this.#final = error
    this.#queue.failAll(error)
  }

  #failed(error: KeyturnError): void {
    this.#health.recordFailure(error)
    for (const job of this.#queue.all()) this.#onPatienceOver(job)
  }

  /** While other jobs succeed, a job whose patience is over still gets a turn, and its result counts. */
  #onPatienceOver(job: Job): void {
    if (!this.#queue.has(job)) return
    const isLost = job.isLate && job.hadOwnTrouble && this.sessions === 0
    if (!isLost && !this.#health.isHopeless(job)) return
    this.#queue.fail(job, away(this.#opener.trouble ?? job.trouble))
  }
}
