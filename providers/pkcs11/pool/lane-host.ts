import { fork, type ChildProcess } from 'node:child_process'
import { createRequire } from 'node:module'
import type { LaneMessage, LaneReply, LaneRequest } from '../wire/messages.ts'
import { GRACE_MS } from './with-grace.ts'

/** A child that has not ended so long after `end` is killed. */
const END_GRACE_MS = 2_000

/**
 * The child died, was killed because it did not answer in time (`hung`), or was replaced by the pool because of another
 * request (`discarded`). Its requests may be repeated in another lane.
 */
export class LaneLost extends Error {
  override readonly name = 'LaneLost'
  readonly why: 'died' | 'hung' | 'discarded'

  constructor(message: string, why: LaneLost['why']) {
    super(message)
    this.why = why
  }
}

interface PendingRequest {
  message: LaneMessage
  deadlineMs: number
  resolve: (reply: LaneReply) => void
  reject: (error: Error) => void
}

/**
 * A child process with its lanes, one thread each. A lane answers its requests in order; the deadline of each counts from
 * the answer to the one before it. A missed deadline kills the child process, since a thread that is stuck in a module
 * cannot be stopped in any other way.
 */
export class LaneHost {
  readonly #child: ChildProcess
  readonly #queues = new Map<number, PendingRequest[]>()
  readonly #timers = new Map<number, NodeJS.Timeout>()
  /** Resolves when the child has ended; never rejects. */
  readonly exited: Promise<void>
  #nextId = 1
  #lost: LaneLost | undefined
  /** The login that is under way in the child. */
  #login: PendingRequest | undefined
  #grace: NodeJS.Timeout | undefined

  /** `env` is the child's whole environment. */
  constructor(env: NodeJS.ProcessEnv) {
    const entry = createRequire(import.meta.url).resolve('#lane-process')
    this.#child = fork(entry, [], {
      env,
      execArgv: [],
      serialization: 'advanced',
      stdio: ['ignore', 2, 2, 'ipc'],
    })
    this.exited = new Promise((resolve) => {
      this.#child.once('exit', () => resolve())
      // Without a pid the child never started, and there is no `exit` event.
      this.#child.once('error', () => this.#child.pid === undefined && resolve())
    })
    this.#child.on('message', (reply: LaneReply) => this.#settle(reply))
    this.#child.on('error', (error) => this.#markLost(new LaneLost(error.message, 'died')))
    this.#child.on('exit', (code, signal) => {
      this.#markLost(
        new LaneLost(`the lane process ended (${signal ?? `exit ${code ?? '?'}`})`, 'died'),
      )
      this.#endLogin()
    })
    // A pending deadline keeps the program alive; an idle child does not.
    this.#child.unref()
    this.#child.channel?.unref()
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  get alive(): boolean {
    return this.#lost === undefined
  }

  /** Sends a request to a lane. Rejects with LaneLost when the child ends or the deadline passes before the reply. */
  send(lane: number, request: LaneRequest, deadlineMs: number): Promise<LaneReply> {
    return new Promise((resolve, reject) => {
      if (this.#lost !== undefined) {
        reject(this.#lost)
        return
      }
      const message = { id: this.#nextId++, lane, request }
      const queue = this.#queues.get(lane) ?? []
      this.#queues.set(lane, queue)
      const pending = { message, deadlineMs, resolve, reject }
      queue.push(pending)
      if (request.op === 'open') this.#login = pending
      if (queue.length === 1) this.#startDeadline(lane)
      // A child that could not be started (no descriptor left) has no channel. Its `error`, a moment later, rejects this.
      if (this.#child.pid === undefined) return
      this.#child.send(message, (error) => {
        if (error)
          this.#markLost(new LaneLost(`cannot reach the lane process: ${error.message}`, 'died'))
      })
    })
  }

  /** Closes the lanes one by one, then ends the child; kills it when that takes too long. Never rejects. */
  async end(lanes: readonly number[]): Promise<void> {
    const close = async (): Promise<void> => {
      for (const [index, lane] of lanes.entries()) {
        await this.send(lane, { op: 'close', last: index === lanes.length - 1 }, END_GRACE_MS)
      }
      if (this.alive) this.#child.send('end')
    }
    // Keeps the program alive until the child has ended.
    this.#child.ref()
    const timer = setTimeout(() => this.kill(), END_GRACE_MS)
    await close().catch(() => undefined)
    await this.exited
    clearTimeout(timer)
  }

  /** Ends the child at once, whatever it is doing. */
  kill(): void {
    this.#markLost(new LaneLost('the lane process was replaced', 'discarded'))
    this.#killNow()
  }

  /**
   * The same, but a login that is under way may end first, for a while: a soft token rewrites its file in it. All other
   * requests are rejected at once, and that one when it has ended.
   */
  discard(): void {
    this.#markLost(new LaneLost('the lane process was replaced', 'discarded'))
    if (this.#login === undefined) this.#killNow()
    else this.#grace ??= setTimeout(() => this.#killNow(), GRACE_MS)
  }

  #killNow(): void {
    this.#endLogin()
    this.#child.ref()
    this.#child.kill('SIGKILL')
  }

  #endLogin(): void {
    clearTimeout(this.#grace)
    if (this.#lost !== undefined) this.#login?.reject(this.#lost)
    this.#login = undefined
  }

  #startDeadline(lane: number): void {
    clearTimeout(this.#timers.get(lane))
    this.#timers.delete(lane)
    const head = this.#queues.get(lane)?.[0]
    if (head === undefined) return
    const timer = setTimeout(() => {
      const { op } = head.message.request
      const message = `the module did not answer "${op}" within ${head.deadlineMs / 1000} s`
      // A login that misses its own deadline gets no more time.
      if (head === this.#login) this.#login = undefined
      this.#markLost(new LaneLost(message, 'hung'))
      this.discard()
    }, head.deadlineMs)
    this.#timers.set(lane, timer)
  }

  #settle(reply: LaneReply): void {
    if (reply.id === this.#login?.message.id) {
      if (this.#lost !== undefined) this.#killNow()
      this.#login = undefined
    }
    const queue = this.#queues.get(reply.lane)
    if (queue?.[0]?.message.id !== reply.id) return
    const head = queue.shift()
    this.#startDeadline(reply.lane)
    head?.resolve(reply)
  }

  #markLost(reason: LaneLost): void {
    if (this.#lost !== undefined) return
    this.#lost = reason
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
    for (const pending of [...this.#queues.values()].flat()) {
      if (pending !== this.#login) pending.reject(reason)
    }
    this.#queues.clear()
  }
}
