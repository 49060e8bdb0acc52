import type { WorkflowExecutionDescription } from '@temporalio/client'
import { queues, type InstallIdentity } from '../../contracts/names.ts'
import type { TroubledRun } from '../../contracts/views.ts'
import type { Store } from '../../store/store.ts'
import { isServed, readBuilds, type Builds } from './builds.ts'
import type { TemporalLink } from './connection.ts'
import { describe } from './live-rotation.ts'

/** How many running workflows are read: removals, a policy, a rotation with the ranges of its window. */
const runsAtMost = 40

/** Attempts of a task without a failure that are no problem yet: a worker that took it may have been restarted. */
const attemptsAreFew = 2

/** The stuck runs of an install: no worker serves their build, or their workflow tasks fail. Empty when there are none. */
export async function troubledRuns(
  link: TemporalLink,
  install: InstallIdentity,
  builds: Builds,
): Promise<TroubledRun[]> {
  const query = `TaskQueue = "${queues.control(install)}" AND ExecutionStatus = "Running"`
  const ids: string[] = []
  for await (const { workflowId } of link.client.workflow.list({ query, pageSize: runsAtMost })) {
    ids.push(workflowId)
    if (ids.length === runsAtMost) break
  }
  const runs = await Promise.all(
    ids.map(async (workflowId) => {
      const described = await describe(link, workflowId)
      return described === null ? null : troubleOf(link, described, builds)
    }),
  )
  return runs.filter((run) => run !== null)
}

/** Why one run is stuck; null when it is not, or has ended. */
export async function troubleOfRun(
  link: TemporalLink,
  builds: Builds,
  workflowId: string,
): Promise<TroubledRun | null> {
  const described = await describe(link, workflowId)
  return described === null ? null : await troubleOf(link, described, builds)
}

/**
 * Terminates a run that is pinned to a build without workers, so that the same command starts it again in the current build;
 * its progress is in MongoDB. Null when there was none. A run whose build is current is left: its workers are restarting.
 */
export async function endUnserved(
  link: TemporalLink,
  store: Store,
  install: InstallIdentity,
  workflowId: string,
): Promise<{ build: string } | null> {
  const described = await describe(link, workflowId)
  if (described?.status.name !== 'RUNNING') return null
  const builds = await readBuilds(link, store, install)
  const build = buildWaitedFor(described, builds)
  if (build === null || build === builds.current || !isServed(builds, builds.current)) return null
  const reason = `build ${build} has no worker: restarted in ${builds.current ?? 'another'}`
  const children = (described.raw.pendingChildren ?? []).flatMap(({ workflowId: id }) => id ?? [])
  for (const id of [workflowId, ...children]) {
    // A run that has ended meanwhile needs no termination.
    await link.client.workflow
      .getHandle(id)
      .terminate(reason)
      .catch(async (error: unknown) => {
        if ((await describe(link, id))?.status.name === 'RUNNING') throw error
      })
  }
  return { build }
}

async function troubleOf(
  link: TemporalLink,
  described: WorkflowExecutionDescription,
  builds: Builds,
): Promise<TroubledRun | null> {
  const { workflowId, type, status } = described
  if (status.name !== 'RUNNING') return null
  const build = buildWaitedFor(described, builds)
  if (build !== null) {
    return { workflowId, type, build, reason: 'build-unserved', message: null }
  }
  const { attempt } = described.raw.pendingWorkflowTask ?? {}
  if ((attempt ?? 1) === 1) return null
  const message = await lastTaskFailure(link, described)
  if (message === null && (attempt ?? 1) <= attemptsAreFew) return null
  const runsIn = pinnedTo(described) ?? builds.current
  return { workflowId, type, build: runsIn, reason: 'task-failing', message }
}

/** The build that a run waits for, if no worker serves it: the one that it is pinned to, else the current one. */
function buildWaitedFor(described: WorkflowExecutionDescription, builds: Builds): string | null {
  if (builds.off !== null) return null
  const build = pinnedTo(described) ?? builds.current
  return build === null || isServed(builds, build) ? null : build
}

function pinnedTo({ raw }: WorkflowExecutionDescription): string | null {
  const versioning = raw.workflowExecutionInfo?.versioningInfo
  // VERSIONING_BEHAVIOR_PINNED; the enum is in a package that is not a dependency.
  const behavior: number = versioning?.behavior ?? 0
  if (behavior !== 1) return null
  return versioning?.deploymentVersion?.buildId ?? null
}

/** Of repeated failures only the first is in the history, as its newest event. Null where a worker took the task and was late. */
async function lastTaskFailure(
  link: TemporalLink,
  { workflowId, runId }: WorkflowExecutionDescription,
): Promise<string | null> {
  const { history } = await link.client.workflowService.getWorkflowExecutionHistoryReverse({
    namespace: link.namespace,
    execution: { workflowId, runId },
    maximumPageSize: 20,
  })
  for (const event of history?.events ?? []) {
    if (event.workflowTaskCompletedEventAttributes || event.workflowTaskTimedOutEventAttributes)
      return null
    const message = event.workflowTaskFailedEventAttributes?.failure?.message
    if (message) return message.split('\n')[0] ?? null
  }
  return null
}
