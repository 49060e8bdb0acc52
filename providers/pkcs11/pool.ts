import { setTimeout as pause } from 'node:timers/promises'
import { KeyturnError } from '../../contracts/errors.ts'
import { LaneCrew, openError, type CrewOptions, type PoolLane } from './crew.ts'
import { errorFrom, type Fault } from './errors.ts'
import { LaneGrowth, pauseAfter } from './growth.ts'
import { Job, type JobOptions } from './job.ts'
import { LaneLost } from './lane-host.ts'
import type { LaneRequest, LoadRequest, Reply } from './lane-messages.ts'

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

/** A rewrap lane has its next batch at hand before it has answered the last one. */
const AHEAD = 2
const LOAD_DEADLINE_MS = 20_000
/** How often a job may lose its lane, or meet a fault that `back-off` cannot cure, before it is given up. */
const MOST_LOSSES = 3
const SHORT_PAUSE_MS = 100
/** Batches that must succeed before one more lane may work again after a back-off. */
const CALM = 10
const DRAIN_MS = 5_000

/** Asks one lane; rejects with a KeyturnError. */
export type LaneAsk = (request: LaneRequest, deadlineMs: number) => Promise<unknown>

export class LanePool {
  readonly #crew: LaneCrew
  readonly #options: CrewOptions
  readonly #keys = new Map<number, { request: LoadRequest; generation: number }>()
  readonly #waiting: Job[] = []
  readonly #flying = new Set<Job>()
  #generation = 0
  readonly #growth: LaneGrowth
  /** Why no further lane can ever be opened: a refused PIN. */
  #final: KeyturnError | undefined
  #allowed = Infinity
  #calm = 0
  #pausedUntil = 0
  #closed: Promise<void> | undefined
  calls = 0
  reconnects = 0
  readonly byCode: Record<string, number> = {}

  private constructor(options: CrewOptions) {
    this.#options = options
    this.#crew = new LaneCrew(options)
    this.#growth = new LaneGrowth(this.#crew, options.log, {
      onFinal: (error) => this.#end(error),
      onTrouble: (error) => {
        for (const job of this.#waiting) job.meet(error)
      },
      onEnd: () => this.#pump(),
    })
  }

  /** Opens the first lane. Throws the coded error of module, token or PIN. */
  static async open(options: CrewOptions): Promise<LanePool> {
    const pool = new LanePool(options)
    try {
      await pool.#crew.open()
      return pool
    } catch (error) {
      await pool.#crew.close()
      throw openError(error)
    }
  }

  get token(): LaneCrew['token'] {
    return this.#crew.token
  }

  get sessions(): number {
    return this.#crew.lanes.length
  }

  get waiting(): number {
    return this.#waiting.length
  }

  /** Child processes at present; for tests and logs. */
  get pids(): number[] {
    return [...new Set(this.#crew.lanes.map((lane) => lane.host.pid ?? 0))]
  }

  /** Lanes among which a page is worth dividing. */
  get lanes(): number {
    return Math.max(1, Math.min(this.#crew.most, this.#allowed))
  }

  get callMs(): number | null {
    return this.#crew.callMs
  }

  /** From now on lanes load this key anew before they use the version. */
  setKey(request: LoadRequest): void {
    this.#keys.set(request.version, { request, generation: ++this.#generation })
  }

  dropKey(version: number): void {
    this.#keys.delete(version)
  }

  get closed(): boolean {
    return this.#closed !== undefined
  }

  /** Runs a request in some lane. Rejects with a KeyturnError, or with the signal's reason. */
  run(request: LaneRequest, options: JobOptions = {}): Promise<{ value: unknown; calls: number }> {
    const refusal = this.#refusal()
    if (refusal !== undefined) return Promise.reject(refusal)
    const job = new Job(request, options, (late) => this.#outOfPatience(late))
    const { answer } = job
    if (job.urgent) this.#waiting.unshift(job)
    else this.#waiting.push(job)
    const { signal } = options
    const abort = (): void => this.#abort(job)
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
    const lane = this.#crew.lanes[0] ?? (await this.#crew.open().catch(rethrowOpenError))
    return use(async (request, deadlineMs) => {
      const job = new Job(request, {}, noop)
      try {
        const reply = await this.#count(job, lane.host.ask(lane.number, request, deadlineMs))
        if (reply.fault === null) job.succeed(reply.value)
        else job.fail(errorFrom(reply.fault))
      } catch (error) {
        if (error instanceof LaneLost) this.#lose(lane, error.message)
        job.fail(new KeyturnError('hsm-failed', (error as Error).message))
      }
      return (await job.answer).value
    })
  }

  /** Waits for the batches in flight (for a while), then ends all children. Everything afterwards is pool-closed. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    const closed = poolClosed()
    for (const job of this.#waiting.splice(0)) job.fail(closed)
    this.#growth.stop()
    const flying = [...this.#flying].map((job) => job.answer)
    const quiet = Promise.allSettled([...flying, this.#growth.running])
    const drained = new AbortController()
    await Promise.race([quiet, pause(DRAIN_MS, undefined, { signal: drained.signal }).catch(noop)])
    drained.abort()
    await this.#crew.close()
    for (const job of this.#flying) job.fail(closed)
  }

  #refusal(): KeyturnError | undefined {
    return this.#closed === undefined ? this.#final : poolClosed()
  }

  #pump(): void {
    if (this.#closed !== undefined) return
    for (const lane of [...this.#crew.lanes]) {
      if (!lane.host.alive) this.#lose(lane, 'the lane process ended')
    }
    while (this.#waiting.length > 0 && performance.now() >= this.#pausedUntil) {
      const [job] = this.#waiting
      const lane = job && this.#laneFor(job)
      if (job === undefined || lane === undefined) break
      this.#waiting.shift()
      this.#flying.add(job)
      lane.inFlight += 1
      void this.#fly(job, lane)
    }
    if (this.#waiting.length > 0 && this.#crew.lanes.length < this.lanes) this.#growth.start()
  }

  #laneFor(job: Job): PoolLane | undefined {
    const { lanes } = this.#crew
    const [first, ...others] = lanes
    if (first === undefined) return undefined
    const least = others.reduce((a, b) => (b.inFlight < a.inFlight ? b : a), first)
    const busy = lanes.filter((lane) => lane.inFlight > 0).length
    if (least.inFlight === 0) return busy < this.#allowed ? least : undefined
    // A lane more is better than a second batch for one that is at work.
    if (lanes.length < this.lanes) return undefined
    return job.ahead && least.inFlight < AHEAD ? least : undefined
  }

  async #fly(job: Job, lane: PoolLane): Promise<void> {
    try {
      const failed = await this.#loadKeys(job, lane)
      // Given up meanwhile: its bytes are overwritten already.
      if (job.settled) return
      const reply = failed ?? (await this.#ask(job, lane))
      if (reply.fault === null) this.#succeed(job, reply)
      else this.#onFault(job, lane, reply.fault)
    } catch (error) {
      if (error instanceof LaneLost) this.#onLost(job, lane, error)
      else job.fail(new KeyturnError('internal', `the pool failed: ${String(error)}`))
    } finally {
      lane.inFlight -= 1
      this.#flying.delete(job)
      this.#pump()
    }
  }

  /** Loads what the lane has not seen of the job's versions; answers the reply that failed, if one did. */
  async #loadKeys(job: Job, lane: PoolLane): Promise<Reply | undefined> {
    for (const version of job.versions) {
      const key = this.#keys.get(version)
      if (key === undefined || lane.keys.get(version) === key.generation) continue
      const reply = await this.#count(
        job,
        lane.host.ask(lane.number, key.request, LOAD_DEADLINE_MS),
      )
      if (reply.fault !== null) return reply
      lane.keys.set(version, key.generation)
    }
    return undefined
  }

  async #ask(job: Job, lane: PoolLane): Promise<Reply> {
    const reply = await this.#count(job, lane.host.ask(lane.number, job.request, job.deadlineMs))
    if (job.ahead) this.#crew.measure(reply)
    return reply
  }

  async #count(job: Job, asked: Promise<Reply>): Promise<Reply> {
    const reply = await asked
    job.calls += reply.calls
    this.calls += reply.calls
    for (const [ckr, times] of Object.entries(reply.byCode)) {
      this.byCode[ckr] = (this.byCode[ckr] ?? 0) + times
    }
    return reply
  }

  #succeed(job: Job, reply: Reply): void {
    job.succeed(reply.value)
    if (this.#allowed === Infinity || ++this.#calm < CALM) return
    this.#calm = 0
    this.#allowed += 1
    if (this.#allowed >= this.#crew.most) this.#allowed = Infinity
  }

  /** The table of 3-hsm.md, as far as a lane could not mend it by itself. */
  #onFault(job: Job, lane: PoolLane, fault: Fault): void {
    if (fault.version !== undefined) job.onKeyFault?.(fault.version)
    const error = errorFrom(fault)
    switch (fault.fault) {
      case 'reconnect':
        this.#lose(lane, fault.message)
        this.#pauseFor(pauseAfter(job.setbacks++))
        this.#again(job, error)
        break
      case 'back-off':
        this.#allowed = Math.max(1, Math.floor(Math.min(this.#allowed, this.sessions) / 2))
        this.#calm = 0
        this.#pauseFor(pauseAfter(job.setbacks++))
        this.#again(job, error)
        break
      case 'session':
      case 'key':
      case 'data':
        this.#pauseFor(SHORT_PAUSE_MS)
        if (++job.losses < MOST_LOSSES) this.#again(job, error)
        else job.fail(error)
        break
      case 'pin':
      case 'never':
        job.fail(error)
    }
  }

  /** A lane died under a job, or was killed for its silence. Twice may be chance, three times it is this very work. */
  #onLost(job: Job, lane: PoolLane, lost: LaneLost): void {
    this.#lose(lane, lost.message)
    if (lost.why !== 'discarded') job.losses += 1
    const error = new KeyturnError('hsm-failed', lost.message, {
      hint: 'the PKCS#11 module crashes or hangs: look at its log and at the HSM',
    })
    if (job.losses < MOST_LOSSES) this.#again(job, error)
    else job.fail(error)
  }

  /** Puts a job back to the front of the queue, unless its patience or the pool is at its end. */
  #again(job: Job, error: KeyturnError): void {
    if (job.settled) return
    const refusal = this.#refusal()
    job.meet(error)
    if (refusal !== undefined) job.fail(refusal)
    else if (job.isLate) job.fail(away(error))
    else this.#waiting.unshift(job)
  }

  #lose(lane: PoolLane, why: string): void {
    if (!this.#crew.lanes.includes(lane)) return
    this.reconnects += 1
    this.#options.log.warn({ pid: lane.host.pid, why }, 'lane process replaced')
    this.#crew.lose(lane.host)
  }

  /** A refused PIN: everybody gets the same answer from now on, without another login. */
  #end(error: KeyturnError): void {
    this.#final = error
    for (const job of this.#waiting.splice(0)) job.fail(error)
  }

  #pauseFor(milliseconds: number): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, performance.now() + milliseconds)
    setTimeout(() => this.#pump(), milliseconds + 1)
  }

  /** Its patience is over. Where lanes are at work it may still have its turn: the answer of that one then counts. */
  #outOfPatience(job: Job): void {
    if (this.sessions > 0 || !this.#waiting.includes(job)) return
    this.#abort(job, away(this.#growth.trouble ?? job.trouble))
  }

  #abort(job: Job, reason?: KeyturnError): void {
    const at = this.#waiting.indexOf(job)
    if (at >= 0) this.#waiting.splice(at, 1)
    job.fail(reason ?? job.abortReason)
  }
}

/** Errors that a lane met while opening keep their code; a device that is away is `hsm-away`. */
function away(error: KeyturnError | undefined): KeyturnError {
  if (error !== undefined && error.code !== 'hsm-failed') return error
  return new KeyturnError('hsm-away', error?.message ?? 'the HSM does not answer', {
    hint: error?.hint ?? 'the HSM does not answer as it should: look at it and at its client',
  })
}

function rethrowOpenError(error: unknown): never {
  throw openError(error)
}

export function poolClosed(): KeyturnError {
  return new KeyturnError('pool-closed', 'the provider is closed')
}

function noop(): void {
  // The pause was cut short because the work is done.
}
