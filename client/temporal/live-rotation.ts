import { WorkflowNotFoundError, type WorkflowExecutionDescription } from '@temporalio/client'
import { KeyturnError } from '../../contracts/errors.ts'
import { messages, workflowIds, type InstallIdentity } from '../../contracts/names.ts'
import {
  pauseCauses,
  pauseOf,
  type RotationPause,
  type RotationProgress,
} from '../../contracts/rotation.ts'
import { runningRotation } from '../../store/rotations.ts'
import type { Store } from '../../store/store.ts'
import type { TemporalLink } from './connection.ts'

/** How long to wait for the answer to a query: without a worker there is none. */
const queryWithinMs = 2_000

/** A rotation whose workflow runs now. `runId` is that of its first run. */
export interface LiveRotation {
  rotation: string
  workflowId: string
  runId: string
  from: number
  to: number
}

/** The running rotation, or null. A row without a running workflow does not count: the next rotation takes it over. */
export async function liveRotation(
  link: TemporalLink,
  store: Store,
  install: InstallIdentity,
): Promise<LiveRotation | null> {
  const workflowId = workflowIds.rotate(install)
  const described = await describe(link, workflowId)
  if (described?.status.name !== 'RUNNING') return null
  const runId = firstRunOf(described)
  const identity = fromMemo(described.memo) ?? (await fromElsewhere(link, store, workflowId))
  return { ...identity, workflowId, runId }
}

/** Whether the rotation is paused, from the workflow's memo: unlike its progress, that can be read without a worker. */
export async function lastPause(link: TemporalLink, workflowId: string): Promise<RotationPause> {
  const { pauses } = (await describe(link, workflowId))?.memo ?? {}
  const causes: unknown[] = Array.isArray(pauses) ? pauses : []
  return pauseOf(pauseCauses.filter((cause) => causes.includes(cause)))
}

/** The workflow's own progress; null when no worker answers in time. */
export async function queryProgress(
  link: TemporalLink,
  workflowId: string,
): Promise<RotationProgress | null> {
  const handle = link.client.workflow.getHandle(workflowId)
  try {
    return await link.client.withDeadline(Date.now() + queryWithinMs, () =>
      handle.query<RotationProgress>(messages.progress),
    )
  } catch {
    return null
  }
}

/** Null when Temporal has no such workflow, running or ended. */
export async function describe(
  link: TemporalLink,
  workflowId: string,
): Promise<WorkflowExecutionDescription | null> {
  try {
    return await link.client.workflow.getHandle(workflowId).describe()
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return null
    throw error
  }
}

export function firstRunOf(described: WorkflowExecutionDescription): string {
  return described.raw.workflowExecutionInfo?.firstRunId ?? described.runId
}

type Identity = Pick<LiveRotation, 'rotation' | 'from' | 'to'>

function fromMemo(memo: Record<string, unknown> | undefined): Identity | null {
  const { rotation, from, to } = memo ?? {}
  if (typeof rotation !== 'string' || typeof from !== 'number' || typeof to !== 'number')
    return null
  return { rotation, from, to }
}

/** A rotation that a policy started has no memo. The workflow's progress or the row has the same data. */
async function fromElsewhere(
  link: TemporalLink,
  store: Store,
  workflowId: string,
): Promise<Identity> {
  const progress = await queryProgress(link, workflowId)
  if (progress !== null) return progress
  const row = await runningRotation(store)
  if (row !== null) return { rotation: row._id, from: row.from, to: row.to }
  throw new KeyturnError('no-worker', 'a rotation runs, but no worker answers for it', {
    hint: 'start one: keyturn worker',
  })
}
