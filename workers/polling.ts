import type { Worker } from '@temporalio/worker'
import type { InstallIdentity } from '../contracts/names.ts'
import type { Log } from '../observability/log.ts'
import type { WorkerRole } from './hosts.ts'
import type { KeystoreState } from './keystore-look.ts'

/** The longest pause of a queue with repeated foreign work, in milliseconds. */
const longestPauseMs = 300_000

/**
 * Decides which queues this process polls. The keystore's id is part of the queue names, and a process whose keystore is not
 * usable (a copy, for example) must take no work. So it reads the keystore periodically, and opens and closes the SDK's
 * workers accordingly. A failed read changes nothing: each activity then hands its task back by itself.
 */
export interface PollingOptions {
  readonly roles: readonly WorkerRole[]
  /** How often the keystore is read, in milliseconds. */
  readonly everyMs: number
  /** How long a queue is paused after its first foreign work, in milliseconds. */
  readonly firstPauseMs: number
  readonly log: Log
  look(): Promise<KeystoreState>
  /** Whether a task that had no row has one now. */
  hasTask(task: string): Promise<boolean>
  open(role: WorkerRole, install: InstallIdentity): Promise<Worker>
}

/** A queue that had work of another keystore. */
interface Foreign {
  readonly task: string | null
  readonly pauseMs: number
  readonly untilMs: number
}

interface Host {
  readonly install: string
  readonly worker: Worker
  /** Settles when the worker has stopped polling and its activities have ended. */
  readonly run: Promise<void>
}

export class Polling {
  readonly #options: PollingOptions
  readonly #hosts = new Map<WorkerRole, Host>()
  readonly #foreign = new Map<WorkerRole, Foreign>()
  readonly #ended: Promise<void>
  #resolve: () => void = () => undefined
  #reject: (reason: unknown) => void = () => undefined
  #keystore: KeystoreState = { install: null, problem: null }
  #logged: string | null = null
  #timer: NodeJS.Timeout | null = null
  #turn: Promise<void> = Promise.resolve()
  #isClosing = false

  constructor(options: PollingOptions) {
    this.#options = options
    this.#ended = new Promise<void>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#ended.catch(() => undefined)
  }

  /** Reads the keystore for the first time. Throws its error: a process with a wrong keystore must not start. */
  async begin(): Promise<void> {
    await this.#follow()
    this.#schedule()
  }

  /**
   * Pauses a queue that had a task without a row in this keystore. It is polled again when the missing row is there, else after
   * a pause, which doubles each time up to five minutes. After a pause the queue is polled for at least as long, so that
   * forged tasks can stop the queue for at most half of the time.
   */
  meetForeign(role: WorkerRole, task: string | null): void {
    const before = this.#foreign.get(role)
    if (before !== undefined && performance.now() < before.untilMs + before.pauseMs) return
    const { firstPauseMs } = this.#options
    const isOld = before === undefined || performance.now() > before.untilMs + 2 * longestPauseMs
    const pauseMs = Math.min(longestPauseMs, isOld ? firstPauseMs : 2 * before.pauseMs)
    this.#foreign.set(role, { task, pauseMs, untilMs: performance.now() + pauseMs })
    this.#logOnce()
    void this.#next(() => this.#shut(role))
  }

  /** Resolves after `close`; rejects when one of the SDK's workers fails. */
  get ended(): Promise<void> {
    return this.#ended
  }

  /** Why this process polls none, or not all, of its queues; null when it polls all. */
  problem(): string | null {
    if (this.#keystore.problem !== null) return this.#keystore.problem
    const roles = this.#options.roles.filter((role) => this.#isPaused(role))
    if (roles.length === 0) return null
    return `foreign-task: another keystore has work on the queue of ${roles.join(', ')}`
  }

  /** Takes no more work, and waits until running work has ended. */
  async close(): Promise<void> {
    this.#isClosing = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#turn
    await Promise.allSettled([...this.#hosts.keys()].map((role) => this.#shut(role)))
    this.#resolve()
  }

  #schedule(): void {
    if (this.#isClosing) return
    this.#timer = setTimeout(() => {
      void this.#next(() => this.#follow()).finally(() => this.#schedule())
    }, this.#options.everyMs)
  }

  /** Runs one change at a time, so that a queue is not opened while it is being closed. */
  #next(change: () => Promise<void>): Promise<void> {
    this.#turn = this.#turn.then(change).catch((err: unknown) => {
      this.#options.log.warn({ err }, 'a change of the polled queues failed')
    })
    return this.#turn
  }

  async #follow(): Promise<void> {
    await this.#lookForMissed()
    this.#keystore = await this.#options.look()
    const { install } = this.#keystore
    this.#logOnce()
    await Promise.all(this.#options.roles.map((role) => this.#align(role, install)))
  }

  /** Ends the pause of a queue whose missing row is there now, as after an undone restore. */
  async #lookForMissed(): Promise<void> {
    for (const [role, { task }] of this.#foreign) {
      if (task !== null && (await this.#options.hasTask(task))) this.#foreign.delete(role)
    }
  }

  #isPaused(role: WorkerRole): boolean {
    return performance.now() < (this.#foreign.get(role)?.untilMs ?? -Infinity)
  }

  /** Logs a new problem once, and that it has passed. */
  #logOnce(): void {
    const problem = this.problem()
    if (problem === this.#logged) return
    this.#logged = problem
    const { log } = this.#options
    if (problem === null) log.info('polls again')
    else log.error(`degraded: ${problem}`)
  }

  /** Opens or closes the worker of one queue. A worker for another keystore id is closed first. */
  async #align(role: WorkerRole, install: InstallIdentity | null): Promise<void> {
    const wanted = this.#isPaused(role) ? null : install
    const host = this.#hosts.get(role)
    if (host !== undefined && host.install !== wanted?.id) await this.#shut(role)
    if (wanted === null || this.#hosts.has(role) || this.#isClosing) return
    const worker = await this.#options.open(role, wanted)
    const run = worker.run()
    this.#hosts.set(role, { install: wanted.id, worker, run })
    run.catch((error: unknown) => this.#reject(error))
  }

  async #shut(role: WorkerRole): Promise<void> {
    const host = this.#hosts.get(role)
    if (host === undefined) return
    this.#hosts.delete(role)
    if (host.worker.getState() === 'RUNNING') host.worker.shutdown()
    await host.run
  }
}
