import type { Worker } from '@temporalio/worker'
import type { InstallIdentity } from '../contracts/names.ts'
import type { Log } from '../observability/log.ts'
import type { WorkerRole } from './hosts.ts'
import type { Standing } from './standing.ts'

/**
 * Which queues this process polls. The keystore decides: its id is in their names, and a process whose keystore is not
 * fit to decide anything takes no work. So it looks at the keystore again and again, and opens and closes the SDK's
 * workers by what it finds; a look that fails changes nothing, for then each activity hands its task back by itself.
 */
export interface PollingOptions {
  readonly roles: readonly WorkerRole[]
  /** Between two looks, in milliseconds. */
  readonly everyMs: number
  readonly log: Log
  look(): Promise<Standing>
  open(role: WorkerRole, install: InstallIdentity): Promise<Worker>
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
  readonly #ended: Promise<void>
  #resolve: () => void = () => undefined
  #reject: (reason: unknown) => void = () => undefined
  #standing: Standing = { install: null, problem: null }
  #timer: NodeJS.Timeout | null = null
  #looking: Promise<void> = Promise.resolve()
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

  /** Resolves after `close`; rejects when one of the SDK's workers failed. */
  get ended(): Promise<void> {
    return this.#ended
  }

  /** Why this process polls nothing, or not all that it should; null when it does. */
  problem(): string | null {
    return this.#standing.problem
  }

  /** Takes no more work, and waits until the work in hand has ended. */
  async close(): Promise<void> {
    this.#isClosing = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#looking
    await Promise.allSettled([...this.#hosts.keys()].map((role) => this.#shut(role)))
    this.#resolve()
  }

  #schedule(): void {
    if (this.#isClosing) return
    this.#timer = setTimeout(() => {
      this.#looking = this.#follow()
        .catch((err: unknown) => {
          this.#options.log.warn({ err }, 'the keystore could not be looked at')
        })
        .finally(() => this.#schedule())
    }, this.#options.everyMs)
  }

  async #follow(): Promise<void> {
    const before = this.#standing.problem
    this.#standing = await this.#options.look()
    const { install, problem } = this.#standing
    if (problem !== before) this.#tell(problem)
    await Promise.all(this.#options.roles.map((role) => this.#align(role, install)))
  }

  #tell(problem: string | null): void {
    const { log } = this.#options
    if (problem === null) log.info('polls again')
    else log.error(`degraded: ${problem}`)
  }

  /** Makes one queue polled, or not; one of another id is left for the one of this. */
  async #align(role: WorkerRole, install: InstallIdentity | null): Promise<void> {
    const wanted = install?.id ?? null
    const host = this.#hosts.get(role)
    if (host !== undefined && host.install !== wanted) await this.#shut(role)
    if (install === null || this.#hosts.has(role) || this.#isClosing) return
    const worker = await this.#options.open(role, install)
    const run = worker.run()
    this.#hosts.set(role, { install: install.id, worker, run })
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
