import { isGrpcServiceError } from '@temporalio/client'
import { deploymentName, queues, type InstallIdentity } from '../../contracts/names.ts'
import { controlWorkers, type ControlWorker } from '../../protocol/builds.ts'
import { liveHeartbeats } from '../../store/process-heartbeats.ts'
import type { Store } from '../../store/store.ts'
import type { TemporalLink } from './connection.ts'

/** Who serves which build of an install's workflows. */
export interface Builds {
  /** Why this server does not support worker deployments; null when it does. */
  readonly off: string | null
  /** The build that new runs go to; null while no worker has made its build current. */
  readonly current: string | null
  readonly workers: readonly ControlWorker[]
}

/** gRPC status codes (grpc/doc/statuscodes.md). */
const notFound = 5
const withoutDeployments = new Set([7, 12])

/** Of temporal.api.enums.v1.TaskQueueType: workflows. */
const workflowTasks = 1

export async function readBuilds(
  link: TemporalLink,
  store: Store,
  install: InstallIdentity,
): Promise<Builds> {
  const [routing, workers] = await Promise.all([
    readRouting(link, install),
    readWorkers(link, store, install),
  ])
  return { ...routing, workers }
}

/** Whether a run of this build can continue. On a server without worker deployments any worker takes it. */
export function isServed({ off, workers }: Builds, build: string | null): boolean {
  return off === null ? workers.some((worker) => worker.build === build) : workers.length > 0
}

/** Routes new runs, and those that upgrade, to `build`. Throws Temporal's error; Temporal knows only builds that a worker has. */
export async function makeCurrent(
  link: TemporalLink,
  install: InstallIdentity,
  build: string,
  by: string,
): Promise<void> {
  await link.client.workflowService.setWorkerDeploymentCurrentVersion({
    namespace: link.namespace,
    deploymentName: deploymentName(install),
    buildId: build,
    identity: by,
    // Only the control queue is versioned.
    ignoreMissingTaskQueues: true,
  })
}

async function readRouting(
  link: TemporalLink,
  install: InstallIdentity,
): Promise<Pick<Builds, 'off' | 'current'>> {
  try {
    const { workerDeploymentInfo } = await link.client.workflowService.describeWorkerDeployment({
      namespace: link.namespace,
      deploymentName: deploymentName(install),
    })
    const version = workerDeploymentInfo?.routingConfig?.currentDeploymentVersion
    return { off: null, current: version?.buildId ?? null }
  } catch (error) {
    const code: number = isGrpcServiceError(error) ? error.code : -1
    if (code === notFound) return { off: null, current: null }
    if (!isGrpcServiceError(error) || !withoutDeployments.has(code)) throw error
    return { off: error.details.replace(/\.$/, ''), current: null }
  }
}

async function readWorkers(
  link: TemporalLink,
  store: Store,
  install: InstallIdentity,
): Promise<ControlWorker[]> {
  const request = {
    namespace: link.namespace,
    taskQueue: { name: queues.control(install) },
    taskQueueType: workflowTasks,
  }
  const [{ pollers }, live] = await Promise.all([
    // The enum is in a package that is not a dependency.
    // eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment
    link.client.workflowService.describeTaskQueue(request),
    liveHeartbeats(store),
  ])
  return controlWorkers(pollers, live, Date.now())
}
