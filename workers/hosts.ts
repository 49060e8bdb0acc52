import { createRequire } from 'node:module'
import { NativeConnection, Worker } from '@temporalio/worker'
import type { WorkerOptions } from '@temporalio/worker'
import {
  createControlActivities,
  createNodeActivities,
  createRewrapActivities,
} from '../activities/index.ts'
import type { ActivityDeps } from '../activities/index.ts'
import { temporalEndpoint } from '../config/temporal-endpoint.ts'
import type { Config } from '../contracts/settings.ts'
import { KeyturnError } from '../contracts/errors.ts'
import { queues } from '../contracts/names.ts'

/** What a worker process may do. `control`: workflows and short steps; `rewrap`: HSM work; `node`: proofs on this host. */
export const roles = ['control', 'rewrap', 'node'] as const
export type WorkerRole = (typeof roles)[number]

/** Shards that one process sweeps at a time: more than a rotation's window, so that a lost worker's are taken at once. */
const sweepsAtOnce = 16

/** Beyond the grace a module that hangs must not keep the process. */
const forceAfterGraceMs = 5_000

/** Connects to Temporal. Throws `temporal-unreachable`. */
export async function connectTemporal(config: Config): Promise<NativeConnection> {
  const { address, security } = temporalEndpoint(config)
  try {
    return await NativeConnection.connect({ address, ...security })
  } catch (cause) {
    throw new KeyturnError('temporal-unreachable', `temporal does not answer at "${address}"`, {
      hint: 'look at temporal.address in keyturn.yaml, or TEMPORAL_ADDRESS; keyturn doctor tells more',
      cause,
    })
  }
}

/** The SDK's workers of this process, one for each role. */
export async function createHosts(
  deps: ActivityDeps,
  connection: NativeConnection,
  wanted: readonly WorkerRole[],
): Promise<Worker[]> {
  const { config, node } = deps
  const { install } = config
  const common: Omit<WorkerOptions, 'taskQueue'> = {
    connection,
    namespace: temporalEndpoint(config).namespace,
    identity: `keyturn/${node}/${process.pid}`,
    shutdownGraceTime: config.worker.shutdownGraceMs,
    shutdownForceTime: config.worker.shutdownGraceMs + forceAfterGraceMs,
    maxHeartbeatThrottleInterval: '1s',
    defaultHeartbeatThrottleInterval: '1s',
  }
  const options: Record<WorkerRole, () => WorkerOptions> = {
    control: () => ({
      ...common,
      taskQueue: queues.control(install),
      workflowBundle: { codePath: createRequire(import.meta.url).resolve('#workflow-bundle') },
      activities: createControlActivities(deps),
      maxConcurrentActivityTaskExecutions: 20,
      maxCachedWorkflows: 200,
    }),
    rewrap: () => ({
      ...common,
      taskQueue: queues.rewrap(install),
      activities: createRewrapActivities(deps),
      maxConcurrentActivityTaskExecutions: sweepsAtOnce,
    }),
    node: () => ({
      ...common,
      taskQueue: queues.node(install, node),
      activities: createNodeActivities(deps),
      maxConcurrentActivityTaskExecutions: 10,
    }),
  }
  return await Promise.all(wanted.map(async (role) => await Worker.create(options[role]())))
}
