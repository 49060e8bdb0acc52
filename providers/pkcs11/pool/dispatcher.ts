import { setTimeout as pause } from 'node:timers/promises'
import { KeyturnError } from '../../../contracts/errors.ts'
import { away, errorFrom, providerClosed, type Fault } from '../wire/errors.ts'
import type { LaneReply, LaneRequest } from '../wire/messages.ts'
import { Concurrency } from './concurrency.ts'
import { lossError, policyForFault, policyForLoss, type FaultPolicy } from './fault-policy.ts'
import { InFlight } from './in-flight.ts'
import type { Job } from './job.ts'
import { KeyRechecks } from './key-rechecks.ts'
import { LaneLost } from './lane-host.ts'
import { LaneOpener } from './lane-opener.ts'
import type { LaneSet, LaneSetOptions, PoolLane } from './lane-set.ts'
import type { PoolKeys } from './pool-keys.ts'
import { PoolStats } from './pool-stats.ts'
import { JobQueue } from './queue.ts'
import { TokenHealth, type Trouble } from './token-health.ts'

const DRAIN_MS = 5_000

/**
 * Gives waiting jobs to lanes and acts on what comes back: a job succeeds, fails, or goes back into the queue; a lane stays
 * or is replaced; lanes pause. Opens lanes while jobs wait.
 */
export class Dispatcher {
  readonly stats = new PoolStats()
  readonly #options: LaneSetOptions
  readonly #laneSet: LaneSet
  readonly #opener: LaneOpener
  readonly #queue: JobQueue
  readonly #concurrency = new Concurrency()
  readonly #rechecks = new KeyRechecks()
  readonly #health: TokenHealth
  readonly #inFlight: InFlight
  /** Why no further lane can be opened: a refused PIN. */
  #final: KeyturnError | undefined
  #closed = false

  constructor(options: LaneSetOptions, laneSet: LaneSet, keys: PoolKeys) {
    this.#options = options
    this.#laneSet = laneSet
    this.#queue = new JobQueue(options.mostWaiting)
    this.#health = new TokenHealth(this.#queue)
    this.#inFlight = new InFlight(keys, this.stats, () => this.#throttled())
    this.#opener = new LaneOpener(laneSet, options.log, {
      onFinal: (error) => this.#failForGood(error),
      onTrouble: (error) => this.#failed(error),
      onEnd: () => this.#pump(),
    })
  }

  get waiting(): number {
    return this.#queue.length
  }

  get trouble(): Trouble | null {
    return this.#health.trouble
  }

  /** How many lanes are useful now. */
  get lanes(): number {
    return this.#laneSet.usefulLanes(this.#concurrency.allowed)
  }

  /** Why a new request is refused; undefined if it is not. */
  refusal(): KeyturnError | undefined {
    return this.#closed ? providerClosed() : this.#final
  }

  add(job: Job): void {
    this.#queue.add(job)
    this.#health.addWaiting(job)
    this.#pump()
  }

  /** Fails the job with the reason of its signal. */
  abort(job: Job): void {
    this.#queue.fail(job, job.abortReason)
  }

  /** Called when a job's patience is over. While other jobs succeed, the job still gets a turn, and its result counts. */
  onPatienceOver(job: Job): void {
    if (!this.#queue.has(job)) return
    const isLost = job.isLate && job.hadOwnTrouble && this.#laneSet.lanes.length === 0
    if (!isLost && !this.#health.isHopeless(job)) return
    this.#queue.fail(job, away(this.#opener.trouble ?? job.trouble))
  }

  /** Sends a request to this lane, past the queue and without a retry. Rejects with a KeyturnError when the lane is lost. */
  async send(
    lane: PoolLane,
    request: LaneRequest,
    deadlineMs: number,
    signal?: AbortSignal,
  ): Promise<LaneReply> {
    try {
      return await this.#inFlight.send(lane, request, deadlineMs, undefined, signal)
    } catch (error) {
      if (!(error instanceof LaneLost)) throw error
      this.#lose(lane, error.message)
      throw lossError(error)
    }
  }

  /** Fails the waiting jobs, waits up to 5 s for those in flight, then ends all lanes. */
  async close(): Promise<void> {
    this.#closed = true
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

  #pump(): void {
    if (this.#closed) return
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
        job.succeed(reply)
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
    const refusal = this.refusal()
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
    for (const job of this.#queue.all()) this.onPatienceOver(job)
  }
}
