import type { NativeConnection, WorkerDeploymentOptions } from '@temporalio/worker'
import { KeyturnError } from '../contracts/errors.ts'
import { deploymentName, queues, type InstallIdentity } from '../contracts/names.ts'
import type { Log } from '../observability/log.ts'
import { controlWorkers, takesOver } from '../protocol/builds.ts'
import { liveHeartbeats } from '../store/process-heartbeats.ts'
import { asStoreError } from '../store/store-errors.ts'
import type { Store } from '../store/store.ts'

/**
 * Keeps runs on the build that started them, and keeps new runs served. A control worker polls as one build of its keystore's
 * deployment; Temporal gives new runs, and those that upgrade, to the current build. A worker makes its own build current
 * if there is no current build, or the current one has no worker left, so a rolling restart needs no command; `keyturn
 * setup` of a newer build does it sooner. A server without worker deployments gives each task to any worker.
 */
export interface RoutingOptions {
  readonly connection: NativeConnection
  readonly namespace: string
  readonly store: Store
  readonly build: string
  /** How often the current build is read, in milliseconds. */
  readonly everyMs: number
  readonly log: Log
}

/** The same until some build is current: Temporal knows a new worker a moment after its start. */
const firstLooksMs = 1_000

/** gRPC status codes (grpc/doc/statuscodes.md) of a server or namespace without worker deployments. */
const withoutDeployments = new Set([7, 12])
const notFound = 5

/** Of temporal.api.enums.v1.TaskQueueType: workflows. */
const workflowTasks = 1

interface Current {
  readonly build: string | null
  readonly conflictToken: Uint8Array | null
}

export class BuildRouting {
  readonly #options: RoutingOptions
  #timer: NodeJS.Timeout | null = null
  #isClosed = false
  #logged: string | null = null

  constructor(options: RoutingOptions) {
    this.#options = options
  }

  /**
   * Returns the options for polling the control queue, null where the server has no worker deployments, and starts to watch the
   * current build. Throws Temporal's error.
   */
  async begin(install: InstallIdentity): Promise<WorkerDeploymentOptions | null> {
    const { build, log } = this.#options
    this.#clear()
    const off = await this.#refusal(install)
    if (off !== null) {
      log.warn(
        { build },
        `temporal keeps no builds apart (${off}): deploy one build on all hosts at a time`,
      )
      return null
    }
    this.#schedule(install, firstLooksMs)
    const version = { deploymentName: deploymentName(install), buildId: build }
    return { version, useWorkerVersioning: true, defaultVersioningBehavior: 'PINNED' }
  }

  close(): void {
    this.#isClosed = true
    this.#clear()
  }

  #clear(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }

  #schedule(install: InstallIdentity, ms: number): void {
    if (this.#isClosed) return
    this.#clear()
    const look = async () => {
      const isSettled = await this.#look(install)
      this.#schedule(install, isSettled ? this.#options.everyMs : firstLooksMs)
    }
    this.#timer = setTimeout(() => void look(), ms)
  }

  /** Returns whether some build is current. A failed look counts as none and is repeated. */
  async #look(install: InstallIdentity): Promise<boolean> {
    const { build, log } = this.#options
    try {
      const current = await this.#current(install)
      if (current.build === build) {
        this.#logOnce(`build ${build} is current`)
        return true
      }
      if (takesOver(build, current.build, await this.#workers(install))) {
        await this.#makeCurrent(install, current)
        this.#logOnce(`build ${build} is current`)
        return true
      }
      if (current.build === null) return false
      this.#logOnce(
        `build ${current.build} is current, and ${build} serves only what it began: keyturn setup of ${build} makes it current`,
      )
      return true
    } catch (err) {
      const known = asStoreError(err)
      const text = 'the current build could not be read or changed'
      if (!(known instanceof KeyturnError)) log.debug({ err }, text)
      else this.#logOnce(`${text}: ${known.message}`, 'warn')
      return false
    }
  }

  #logOnce(line: string, level: 'info' | 'warn' = 'info'): void {
    if (line !== this.#logged) this.#options.log[level](line)
    this.#logged = line
  }

  /** Why this server has no worker deployments; null when it has. */
  async #refusal(install: InstallIdentity): Promise<string | null> {
    try {
      await this.#current(install)
      return null
    } catch (error) {
      if (!withoutDeployments.has(grpcCode(error) ?? -1)) throw error
      const { details } = error as { details?: unknown }
      return typeof details === 'string' ? details.replace(/\.$/, '') : 'it has no such call'
    }
  }

  async #current(install: InstallIdentity): Promise<Current> {
    const { connection, namespace } = this.#options
    const request = { namespace, deploymentName: deploymentName(install) }
    try {
      const { workerDeploymentInfo, conflictToken } =
        await connection.workflowService.describeWorkerDeployment(request)
      const version = workerDeploymentInfo?.routingConfig?.currentDeploymentVersion
      return { build: version?.buildId ?? null, conflictToken }
    } catch (error) {
      if (grpcCode(error) !== notFound) throw error
      return { build: null, conflictToken: null }
    }
  }

  async #workers(install: InstallIdentity) {
    const { connection, namespace, store } = this.#options
    const [{ pollers }, live] = await Promise.all([
      connection.workflowService.describeTaskQueue({
        namespace,
        taskQueue: { name: queues.control(install) },
        // The enum is in a package that is not a dependency.
        // eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment
        taskQueueType: workflowTasks,
      }),
      liveHeartbeats(store),
    ])
    return controlWorkers(pollers, live, Date.now())
  }

  /** By compare-and-set: if two builds find none, one of them becomes current. */
  async #makeCurrent(install: InstallIdentity, { conflictToken }: Current): Promise<void> {
    const { connection, namespace, build } = this.#options
    await connection.workflowService.setWorkerDeploymentCurrentVersion({
      namespace,
      deploymentName: deploymentName(install),
      buildId: build,
      identity: `keyturn build ${build}`,
      // Only the control queue is versioned.
      ignoreMissingTaskQueues: true,
      ...(conflictToken === null ? {} : { conflictToken }),
    })
  }
}

function grpcCode(error: unknown): number | null {
  const { code } = error as { code?: unknown }
  return typeof code === 'number' ? code : null
}
