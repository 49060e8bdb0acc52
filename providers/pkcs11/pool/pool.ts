import type { LaneRequest, LoadRequest, ReplyTo } from '../wire/messages.ts'
import { resultOf } from '../wire/result.ts'
import { Dispatcher } from './dispatcher.ts'
import type { SendToLane } from './in-flight.ts'
import { Job, type JobOptions } from './job.ts'
import { LaneSet, openError, type LaneSetOptions } from './lane-set.ts'
import { PoolKeys } from './pool-keys.ts'
import type { PoolStats } from './pool-stats.ts'
import type { Trouble } from './token-health.ts'
import { withGrace } from './with-grace.ts'

export interface PoolAnswer<R extends LaneRequest> {
  value: ReplyTo<R>
  /** Crypt calls, retries included. */
  calls: number
}

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
export class LanePool {
  readonly #laneSet: LaneSet
  readonly #keys = new PoolKeys()
  readonly #dispatcher: Dispatcher
  #closed: Promise<void> | undefined

  private constructor(options: LaneSetOptions) {
    this.#laneSet = new LaneSet(options)
    this.#dispatcher = new Dispatcher(options, this.#laneSet, this.#keys)
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
    return this.#dispatcher.waiting
  }

  get stats(): PoolStats {
    return this.#dispatcher.stats
  }

  /** The current child processes; for tests and logs. */
  get pids(): number[] {
    return [...new Set(this.#laneSet.lanes.map((lane) => lane.host.pid ?? 0))]
  }

  /** How many lanes a page should be divided among. */
  get lanes(): number {
    return this.#dispatcher.lanes
  }

  get callMs(): number | null {
    return this.#laneSet.callMs
  }

  get trouble(): Trouble | null {
    return this.#dispatcher.trouble
  }

  /** Each lane loads this key again before it next uses the version. */
  setKey(request: LoadRequest): void {
    this.#keys.set(request)
  }

  dropKey(version: number): void {
    this.#keys.drop(version)
  }

  /** Runs a request in some lane. Rejects with a KeyturnError, or with the signal's reason. */
  async run<R extends LaneRequest>(request: R, options: JobOptions = {}): Promise<PoolAnswer<R>> {
    this.#requireOpen()
    const dispatcher = this.#dispatcher
    const job = new Job(request, options, (late) => dispatcher.onPatienceOver(late))
    const { signal } = options
    const abort = (): void => dispatcher.abort(job)
    signal?.addEventListener('abort', abort, { once: true })
    try {
      if (signal?.aborted === true) abort()
      else dispatcher.add(job)
      const { reply, calls } = await job.answer
      return { value: resultOf(request, reply), calls }
    } finally {
      signal?.removeEventListener('abort', abort)
    }
  }

  /**
   * Sends requests that belong together to one lane, without retries: a failure rejects with its coded error. The lane
   * serves batches in between.
   */
  async inOneLane<T>(use: (send: SendToLane) => Promise<T>): Promise<T> {
    this.#requireOpen()
    const lane =
      this.#laneSet.lanes[0] ??
      (await this.#laneSet.open().catch((error: unknown) => {
        throw openError(error)
      }))
    return use(async (request, deadlineMs, signal) =>
      resultOf(request, await this.#dispatcher.send(lane, request, deadlineMs, signal)),
    )
  }

  /** Waits up to 5 s for the batches in flight, then ends all children. Later calls reject with pool-closed. */
  close(): Promise<void> {
    this.#closed ??= this.#dispatcher.close()
    return this.#closed
  }

  get closed(): boolean {
    return this.#closed !== undefined
  }

  #requireOpen(): void {
    const refusal = this.#dispatcher.refusal()
    if (refusal !== undefined) throw refusal
  }
}
