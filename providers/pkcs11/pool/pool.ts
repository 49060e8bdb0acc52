import { setTimeout as pause } from 'node:timers/promises'
import { KeyturnError } from '../../../contracts/errors.ts'
import { Concurrency } from './concurrency.ts'
import { LaneSet, openError, type LaneSetOptions, type PoolLane } from './lane-set.ts'
import { Doubts } from './doubts.ts'
import { away, errorFrom, providerClosed, type Fault } from '../wire/errors.ts'
import { InFlight, type LaneAsk } from './in-flight.ts'
import { LaneOpener } from './lane-opener.ts'
import { withGrace } from './with-grace.ts'
import { Job, type JobAnswer, type JobOptions } from './job.ts'
import { LaneLost } from './lane-host.ts'
import type { LaneRequest, LoadRequest } from '../wire/messages.ts'
import { PoolKeys } from './pool-keys.ts'
import { JobQueue } from './queue.ts'
import { lossError, policyForFault, policyForLoss, type FaultPolicy } from './fault-policy.ts'
import { Standing, type Trouble } from '../standing.ts'
import { PoolStats } from './pool-stats.ts'

/**
 * `run` is the only road to a lane. A job waits in one queue, goes to the lane with the least to do, and is repeated
 * elsewhere when its lane is lost or the token asks for patience: only what no repeat can mend reaches the caller.
 *
 * Keys belong to the pool: `setKey` gives a version a new generation, and each lane looks the key up and opens the
 * canary before the first batch of a generation it has not seen. A lane that is opened after a reconnect has seen none,
 * so no handle outlives its session and nothing is written by a token that came back as another one.
 *
 * A reconnect is always a new child process: there is nothing in a module's state that the end of its process does not
 * clean up, and it mends crash, hang and lost device alike.
 */

const DRAIN_MS = 5_000

export class LanePool {
  readonly #options: LaneSetOptions
  readonly #laneSet: LaneSet
  readonly #opener: LaneOpener
  readonly #queue: JobQueue
  readonly #keys = new PoolKeys()
  readonly #concurrency = new Concurrency()
  readonly #doubts = new Doubts()
  readonly #standing: Standing
  /** Why no further lane can ever be opened: a refused PIN. */
  #final: KeyturnError | undefined
  #closed: Promise<void> | undefined
  readonly stats = new PoolStats()
  readonly #inFlight = new InFlight(this.#keys, this.stats, () => this.#throttled())

  private constructor(options: LaneSetOptions) {
    this.#options = options
    this.#laneSet = new LaneSet(options)
    this.#queue = new JobQueue(options.mostWaiting)
    this.#standing = new Standing(this.#queue)
    this.#opener = new LaneOpener(this.#laneSet, options.log, {
      onFinal: (error) => this.#end(error),
      onTrouble: (error) => this.#failed(error),
      onEnd: () => this.#pump(),
    })
  }

  /** Opens the first lane. Throws the coded error of module, token or PIN; soon after the signal, too. */
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

  /** Child processes at present; for tests and logs. */
  get pids(): number[] {
    return [...new Set(this.#laneSet.lanes.map((lane) => lane.host.pid ?? 0))]
  }

  /** Lanes among which a page is worth dividing. */
  get lanes(): number {
    return this.#laneSet.worthOpening(this.#concurrency.allowed)
  }

  get callMs(): number | null {
    return this.#laneSet.callMs
  }

  get trouble(): Trouble | null {
    return this.#standing.trouble
  }

  /** From now on lanes load this key anew before they use the version. */
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
    const job = new Job(request, options, (late) => this.#outOfPatience(late))
    const { answer } = job
    this.#queue.add(job)
    this.#standing.tell(job)
    const { signal } = options
    const abort = (): void => this.#queue.fail(job, job.abortReason)
    signal?.addEventListener('abort', abort, { once: true })
    if (signal?.aborted === true) abort()
    this.#pump()
    return answer.finally(() => signal?.removeEventListener('abort', abort))
  }

  /**
   * Hands out one lane for requests that belong together, without any repeat: what fails rejects with its coded error.
   * The lane goes on serving batches meanwhile.
   */
  async inOneLane<T>(use: (ask: LaneAsk) => Promise<T>): Promise<T> {
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

  /** Waits for the batches in flight (for a while), then ends all children. Everything afterwards is pool-closed. */
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
      void this.#fly(job, lane)
    }
    if (this.#queue.length > 0 && this.#laneSet.lanes.length < this.lanes) this.#opener.start()
  }

  async #fly(job: Job, lane: PoolLane): Promise<void> {
    try {
      const reply = await this.#inFlight.run(job, lane)
      if (reply === null) return
      if (job.ahead) this.#laneSet.measure(reply)
      if (reply.fault !== null) this.#onFault(job, lane, reply.fault)
      else {
        lane.isFresh = false
        this.#doubts.settle(job.versions)
        job.succeed(reply.value)
        // Of a session that lives no crypt call need be well.
        if (reply.calls > 0) this.#standing.succeeded()
        this.#concurrency.succeed(this.#laneSet.most)
      }
    } catch (error) {
      if (!(error instanceof LaneLost)) {
        job.fail(new KeyturnError('internal', `the pool failed: ${String(error)}`))
      } else this.#apply(policyForLoss(error, job), job, lane, this.#causeOf(error))
    } finally {
      this.#pump()
    }
  }

  /** Of a lane that was replaced for another job's sake that one's trouble is what there is to tell. */
  #causeOf(lost: LaneLost): KeyturnError {
    const known = lost.why === 'discarded' ? this.trouble?.error : undefined
    return known ?? lossError(lost)
  }

  #throttled(): void {
    this.#concurrency.halve(this.#laneSet.busy)
  }

  #onFault(job: Job, lane: PoolLane, fault: Fault): void {
    const { version, code } = fault
    if (version !== undefined && !lane.isFresh && this.#doubts.about(code, version)) {
      const again: FaultPolicy = { lane: 'replace', concurrency: 'keep', pauseMs: 0, job: 'again' }
      this.#apply(again, job, lane, errorFrom(fault))
      return
    }
    if (version !== undefined) job.onKeyFault?.(version)
    const policy = policyForFault(fault, job)
    // Throttling lets something pass now and then; a dead client library may answer the same.
    const isDead = fault.fault === 'back-off' && this.#standing.isBarren()
    this.#apply(isDead ? { ...policy, lane: 'replace' } : policy, job, lane, errorFrom(fault))
  }

  #apply(policy: FaultPolicy, job: Job, lane: PoolLane, error: KeyturnError): void {
    if (policy.lane === 'replace') this.#lose(lane, error.message)
    if (policy.concurrency === 'halve') this.#throttled()
    this.#concurrency.pause(policy.pauseMs, () => this.#pump())
    if (policy.job === 'fail') job.fail(error)
    else this.#again(job, error)
  }

  /** Puts a job back to the front of the queue, unless its patience or the pool is at its end. */
  #again(job: Job, error: KeyturnError): void {
    this.#failed(error)
    if (job.settled) return
    const refusal = this.#refusal()
    job.meet(error)
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

  /** A refused PIN: everybody gets the same answer from now on, without another login. */
  #end(error: KeyturnError): void {
    this.#final = error
    this.#queue.failAll(error)
  }

  #failed(error: KeyturnError): void {
    this.#standing.failed(error)
    for (const job of this.#queue.all()) this.#outOfPatience(job)
  }

  /** Where others get on, a job whose patience is over may still have its turn: the answer of that one then counts. */
  #outOfPatience(job: Job): void {
    if (!this.#queue.has(job)) return
    const isLost = job.isLate && job.isHit && this.sessions === 0
    if (!isLost && !this.#standing.isHopeless(job)) return
    this.#queue.fail(job, away(this.#opener.trouble ?? job.trouble))
  }
}
