import { createRequire } from 'node:module'
import { NativeConnection, Worker } from '@temporalio/worker'
import type { WorkerDeploymentOptions, WorkerOptions } from '@temporalio/worker'
import {
  createControlActivities,
  createNodeActivities,
  createRewrapActivities,
} from '../activities/index.ts'
import type { ActivityDeps, ControlDeps, Queue } from '../activities/deps.ts'
import { temporalEndpoint } from '../config/temporal-endpoint.ts'
import { temporalFailure } from '../config/temporal-failures.ts'
import type { Config } from '../contracts/settings.ts'
import { queues, workerIdentity, type InstallIdentity } from '../contracts/names.ts'

/** The roles of a worker process. `control`: workflows and steps without keys; `rewrap`: HSM work; `node`: proofs on this host. */
export type WorkerRole = Queue

/** A queue of this keystore, and the callback for work there that belongs to another keystore. */
export interface QueueToPoll {
  readonly role: WorkerRole
  readonly install: InstallIdentity
  readonly onForeignTask: NonNullable<ControlDeps['onForeignTask']>
  /** The build options for the control queue. The queues of activities are not versioned: any build serves them. */
  readonly build: () => Promise<WorkerDeploymentOptions | null>
}

/** Ranges that one process sweeps at a time: more than a rotation's window, so that it can take over those of a lost worker. */
const sweepsAtOnce = 16

/** How long after the grace time a worker is stopped by force, so that a hanging module cannot keep the process. */
const forceAfterGraceMs = 5_000

/** Connects to Temporal. Throws `temporal-unreachable`, `temporal-refused`, `config-invalid`. */
export async function connectTemporal(config: Config): Promise<NativeConnection> {
  const endpoint = temporalEndpoint(config)
  const { address, security } = endpoint
  try {
    return await NativeConnection.connect({ address, ...security })
  } catch (error) {
    throw temporalFailure(error, endpoint)
  }
}

/** Runs `use`; the core's errors about the server become KeyturnErrors, all others are rethrown. */
export async function askingTemporal<T>(config: Config, use: () => Promise<T>): Promise<T> {
  try {
    return await use()
  } catch (error) {
    throw isOfTransport(error) ? temporalFailure(error, temporalEndpoint(config)) : error
  }
}

/** Whether it is the core's error of a call to the server; the SDK exports no class for it. */
function isOfTransport(error: unknown): boolean {
  return error instanceof Error && error.name === 'TransportError'
}

/** The SDK's worker for the control queue: workflows, and short steps without keys. */
export async function createControlHost(
  deps: ControlDeps,
  connection: NativeConnection,
  { install, onForeignTask, build }: QueueToPoll,
): Promise<Worker> {
  const workerDeploymentOptions = await build()
  return await Worker.create({
    ...commonOptions(deps, connection),
    ...(workerDeploymentOptions === null ? {} : { workerDeploymentOptions }),
    taskQueue: queues.control(install),
    workflowBundle: { codePath: createRequire(import.meta.url).resolve('#workflow-bundle') },
    activities: createControlActivities({ ...deps, onForeignTask }),
    maxConcurrentActivityTaskExecutions: 20,
    maxCachedWorkflows: 200,
  })
}

/** The SDK's worker for one role of a process with keys. */
export async function createHost(
  deps: ActivityDeps,
  connection: NativeConnection,
  queue: QueueToPoll,
): Promise<Worker> {
  const { role, install, onForeignTask } = queue
  const own = { ...deps, onForeignTask }
  const common = commonOptions(deps, connection)
  switch (role) {
    case 'control':
      return await createControlHost(deps, connection, queue)
    case 'rewrap':
      return await Worker.create({
        ...common,
        taskQueue: queues.rewrap(install),
        activities: createRewrapActivities(own),
        maxConcurrentActivityTaskExecutions: sweepsAtOnce,
      })
    case 'node':
      return await Worker.create({
        ...common,
        taskQueue: queues.node(install, deps.node),
        activities: createNodeActivities(own),
        maxConcurrentActivityTaskExecutions: 10,
      })
  }
}

function commonOptions(deps: ControlDeps | ActivityDeps, connection: NativeConnection) {
  const { config, node } = deps
  return {
    connection,
    namespace: temporalEndpoint(config).namespace,
    identity: workerIdentity(node, process.pid, 'member' in deps),
    shutdownGraceTime: config.worker.shutdownGraceMs,
    shutdownForceTime: config.worker.shutdownGraceMs + forceAfterGraceMs,
    maxHeartbeatThrottleInterval: '1s',
    defaultHeartbeatThrottleInterval: '1s',
  } satisfies Partial<WorkerOptions>
}
