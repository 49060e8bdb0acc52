import { setTimeout as pause } from 'node:timers/promises'
import { KeyturnError } from '../../contracts/errors.ts'
import { LaneCrew, openError, OpenFailed, type CrewOptions, type PoolLane } from './crew.ts'
import { errorFrom, type Fault } from './errors.ts'
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
const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 15_000
/** Batches that must succeed before one more lane may work again after a back-off. */
const CALM = 10
const DRAIN_MS = 5_000

export class LanePool {
  readonly #crew: LaneCrew
  readonly #options: CrewOptions
  readonly #keys = new Map<number, { request: LoadRequest; generation: number }>()
  readonly #waiting: Job[] = []
  readonly #flying = new Set<Job>()
  #generation = 0
  #growing: Promise<void> | undefined
  /** Why no further lane can ever be opened: a refused PIN. */
  #final: KeyturnError | undefined
  /** What keeps lanes from opening at present, and how often in a row. */
  #trouble: { error: KeyturnError; times: number } | undefined
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

  /** Runs a request in some lane. Rejects with a KeyturnError, or with the signal's reason. */
  run(request: LaneRequest, options: JobOptions = {}): Promise<{ value: unknown; calls: number }> {
    const refusal = this.#refusal()
    if (refusal !== undefined) return Promise.reject(refusal)
    const job = new Job(request, options, (late) => this.#outOfPatience(late))
    const { answer } = job
    if (job.urgent) this.#waiting.unshift(job)
    else this.#waiting.push(job)
    options.signal?.addEventListener('abort', () => this.#abort(job), { once: true })
    if (options.signal?.aborted === true) this.#abort(job)
    this.#pump()
    return answer
  }

  /** Waits for the batches in flight (for a while), then ends all children. Everything afterwards is pool-closed. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    const closed = poolClosed()
    for (const job of this.#waiting.splice(0)) job.fail(closed)
    const flying = Promise.allSettled([...this.#flying].map((job) => job.answer))
    const drained = new AbortController()
    await Promise.race([flying, pause(DRAIN_MS, undefined, { signal: drained.signal }).catch(noop)])
    drained.abort()
    await this.#growing
    await this.#crew.close()
    for (const job of this.#flying) job.fail(closed)
  }

  #refusal(): KeyturnError | undefined {
    return this.#closed === undefined ? this.#final : poolClosed()
  }

  #pump(): void {
    if (this.#closed !== undefined) return
    while (this.#waiting.length > 0 && performance.now() >= this.#pausedUntil) {
      const [job] = this.#waiting
      const lane = job && this.#laneFor(job)
      if (job === undefined || lane === undefined) break
      this.#waiting.shift()
      this.#flying.add(job)
      lane.inFlight += 1
      void this.#fly(job, lane)
    }
    if (this.#waiting.length > 0 && this.#crew.lanes.length < this.lanes) this.#grow()
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
      const reply = (await this.#loadKeys(job, lane)) ?? (await this.#ask(job, lane))
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
    switch (fault.fault) {
      case 'reconnect':
        this.#lose(lane, fault.message)
        return this.#again(job, fault)
      case 'back-off':
        this.#allowed = Math.max(1, Math.floor(Math.min(this.#allowed, this.sessions) / 2))
        this.#calm = 0
        this.#pauseFor(pauseAfter(job.backOffs++))
        return this.#again(job, fault)
      case 'session':
      case 'key':
      case 'data':
        job.losses += 1
        this.#pauseFor(FIRST_PAUSE_MS)
        return job.losses < MOST_LOSSES ? this.#again(job, fault) : job.fail(errorFrom(fault))
      case 'pin':
      case 'never':
        job.fail(errorFrom(fault))
    }
  }

  #onLost(job: Job, lane: PoolLane, lost: LaneLost): void {
    this.#lose(lane, lost.message)
    job.losses += 1
    const fault: Fault = { code: 'hsm-failed', message: lost.message, fault: 'reconnect' }
    if (job.losses < MOST_LOSSES) return this.#again(job, fault)
    job.fail(
      new KeyturnError('hsm-failed', `given up after ${MOST_LOSSES} lanes: ${lost.message}`, {
        hint: 'the PKCS#11 module crashes or hangs: look at its log and at the HSM',
      }),
    )
  }

  /** Puts a job back to the front of the queue, unless its time is over or the pool is. */
  #again(job: Job, fault: Fault): void {
    const refusal = this.#refusal()
    if (refusal !== undefined) return job.fail(refusal)
    if (job.isLate) return job.fail(errorFrom(fault))
    job.trouble = errorFrom(fault)
    if (!job.settled) this.#waiting.unshift(job)
  }

  #lose(lane: PoolLane, why: string): void {
    if (!this.#crew.lanes.includes(lane)) return
    this.reconnects += 1
    this.#options.log.warn({ pid: lane.host.pid, why }, 'lane process replaced')
    this.#crew.lose(lane.host)
  }

  #grow(): void {
    if (this.#growing !== undefined) return
    this.#growing = this.#openOne().finally(() => {
      this.#growing = undefined
      this.#pump()
    })
  }

  async #openOne(): Promise<void> {
    try {
      await this.#crew.open()
      this.#trouble = undefined
    } catch (error) {
      const known = openError(error)
      if (error instanceof OpenFailed && error.fault.fault === 'pin') return this.#end(known)
      if (this.sessions > 0) return this.#crew.limitToPresent()
      const times = (this.#trouble?.times ?? 0) + 1
      this.#trouble = { error: known, times }
      this.#options.log.warn(
        { code: known.code, why: known.message, times },
        'no lane can be opened',
      )
      await pause(pauseAfter(times), undefined, { ref: false })
    }
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

  /** A job that waits because there is no lane, or whose repeats never end, is told so; one that waits its turn waits on. */
  #outOfPatience(job: Job): void {
    const reason = this.#trouble?.error ?? job.trouble
    if (reason === undefined || !this.#waiting.includes(job)) return
    this.#abort(job, away(reason))
  }

  #abort(job: Job, reason?: KeyturnError): void {
    const at = this.#waiting.indexOf(job)
    if (at >= 0) this.#waiting.splice(at, 1)
    job.fail(reason ?? job.abortReason)
  }
}

function pauseAfter(times: number): number {
  return Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** times)
}

/** Errors that a lane met while opening keep their code; a device that is away is `hsm-away`. */
function away(error: KeyturnError): KeyturnError {
  if (error.code !== 'hsm-failed') return error
  return new KeyturnError('hsm-away', error.message, {
    hint: error.hint ?? 'the HSM does not answer as it should: look at it and at its client',
  })
}

function poolClosed(): KeyturnError {
  return new KeyturnError('pool-closed', 'the provider is closed')
}

function noop(): void {
  // The pause was cut short because the work is done.
}
