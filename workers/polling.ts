import type { Worker } from '@temporalio/worker'
import type { InstallIdentity } from '../contracts/names.ts'
import type { Log } from '../observability/log.ts'
import type { WorkerRole } from './hosts.ts'
import type { Standing } from './standing.ts'

/** The longest pause of a queue on which foreign work is met again and again, in milliseconds. */
const longestPauseMs = 300_000

/**
 * Which queues this process polls. The keystore decides: its id is in their names, and a process whose keystore is not
 * fit to decide anything takes no work. So it looks at the keystore again and again, and opens and closes the SDK's
 * workers by what it finds; a look that fails changes nothing, for then each activity hands its task back by itself.
 */
export interface PollingOptions {
  readonly roles: readonly WorkerRole[]
  /** Between two looks, in milliseconds. */
  readonly everyMs: number
  /** How long a queue is left alone after foreign work was met there the first time, in milliseconds. */
  readonly firstPauseMs: number
  readonly log: Log
  look(): Promise<Standing>
  /** Whether a task that was missed is there now. */
  hasTask(task: string): Promise<boolean>
  open(role: WorkerRole, install: InstallIdentity): Promise<Worker>
}

/** A queue on which work of another keystore was met. */
interface Foreign {
  readonly task: string | null
  readonly pauseMs: number
  readonly untilMs: number
}

interface Host {
  readonly install: string
  readonly worker: Worker
  /** Settles when it polls no more, and its activities have ended. */
  readonly run: Promise<void>
}

export class Polling {
  readonly #options: PollingOptions
  readonly #hosts = new Map<WorkerRole, Host>()
  readonly #foreign = new Map<WorkerRole, Foreign>()
  readonly #ended: Promise<void>
  #resolve: () => void = () => undefined
  #reject: (reason: unknown) => void = () => undefined
  #standing: Standing = { install: null, problem: null }
  #told: string | null = null
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

  /** The first look. Throws what it met: a process that cannot be right must not start. */
  async begin(): Promise<void> {
    await this.#follow()
    this.#schedule()
  }

  /**
   * Work was met that was not asked for in this keystore: no more is taken from that queue. It is polled again when the
   * missed row is there, and else after a pause, which doubles each time up to five minutes. After a pause the queue is
   * polled for at least as long, whatever is met there: whoever forges tasks holds up the fleet for half of the time.
   */
  meetForeign(role: WorkerRole, task: string | null): void {
    const before = this.#foreign.get(role)
    if (before !== undefined && performance.now() < before.untilMs + before.pauseMs) return
    const { firstPauseMs } = this.#options
    const isOld = before === undefined || performance.now() > before.untilMs + 2 * longestPauseMs
    const pauseMs = Math.min(longestPauseMs, isOld ? firstPauseMs : 2 * before.pauseMs)
    this.#foreign.set(role, { task, pauseMs, untilMs: performance.now() + pauseMs })
    this.#tell()
    void this.#next(() => this.#shut(role))
  }

  /** Resolves after `close`; rejects when one of the SDK's workers failed. */
  get ended(): Promise<void> {
    return this.#ended
  }

  /** Why this process polls nothing, or not all that it should; null when it does. */
  problem(): string | null {
    if (this.#standing.problem !== null) return this.#standing.problem
    const roles = this.#options.roles.filter((role) => this.#isPaused(role))
    if (roles.length === 0) return null
    return `foreign-task: another keystore has work on the queue of ${roles.join(', ')}`
  }

  /** Takes no more work, and waits until the work in hand has ended. */
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

  /** One change at a time: what is being closed is not opened beside it. */
  #next(change: () => Promise<void>): Promise<void> {
    this.#turn = this.#turn.then(change).catch((err: unknown) => {
      this.#options.log.warn({ err }, 'the queues could not be followed')
    })
    return this.#turn
  }

  async #follow(): Promise<void> {
    await this.#lookForMissed()
    this.#standing = await this.#options.look()
    const { install } = this.#standing
    this.#tell()
    await Promise.all(this.#options.roles.map((role) => this.#align(role, install)))
  }

  /** What was missed may have been a row that this keystore has after all: a restore that was undone. */
  async #lookForMissed(): Promise<void> {
    for (const [role, { task }] of this.#foreign) {
      if (task !== null && (await this.#options.hasTask(task))) this.#foreign.delete(role)
    }
  }

  #isPaused(role: WorkerRole): boolean {
    return performance.now() < (this.#foreign.get(role)?.untilMs ?? -Infinity)
  }

  /** Says what is wrong, once, and when nothing is any more. */
  #tell(): void {
    const problem = this.problem()
    if (problem === this.#told) return
    this.#told = problem
    const { log } = this.#options
    if (problem === null) log.info('polls again')
    else log.error(`degraded: ${problem}`)
  }

  /** Makes one queue polled, or not; one of another id is left for the one of this. */
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
