import { WorkflowExecutionAlreadyStartedError, type WorkflowHandle } from '@temporalio/client'
import {
  defineSearchAttributeKey,
  WorkflowIdConflictPolicy,
  WorkflowIdReusePolicy,
} from '@temporalio/common'
import { queues, searchAttributes, type InstallIdentity } from '../../contracts/names.ts'
import { decodeFailure } from './failures.ts'
import type { ErrorCode } from '../../contracts/errors.ts'
import type { TemporalLink } from './connection.ts'

const installKey = defineSearchAttributeKey(searchAttributes.install, 'KEYWORD')
const rotationKey = defineSearchAttributeKey(searchAttributes.rotation, 'KEYWORD')

export interface Start {
  type: string
  workflowId: string
  install: InstallIdentity
  input: object
  /** One line for the Temporal UI's list. */
  summary: string
  memo?: Record<string, unknown>
  rotation?: string
}

/** Starts a workflow; null when one already runs under the same id. */
export async function startAlone(
  link: TemporalLink,
  start: Start,
): Promise<{ workflowId: string; runId: string } | null> {
  try {
    const handle = await link.client.workflow.start(start.type, {
      ...options(start),
      workflowIdConflictPolicy: WorkflowIdConflictPolicy.FAIL,
    })
    return { workflowId: handle.workflowId, runId: handle.firstExecutionRunId }
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) return null
    throw error
  }
}

/** Starts a workflow, or joins the one that runs under the same id, so that a repeated request is safe. */
export async function startOrJoin(link: TemporalLink, start: Start): Promise<WorkflowHandle> {
  return link.client.workflow.start(start.type, {
    ...options(start),
    workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
  })
}

/** The result of a workflow. Throws its failure as a KeyturnError, with the code `otherwise` when the failure has none. */
export async function resultOf<T>(handle: WorkflowHandle, otherwise: ErrorCode): Promise<T> {
  try {
    return (await handle.result()) as T
  } catch (error) {
    throw decodeFailure(error, otherwise)
  }
}

function options(start: Start) {
  const attributes = [{ key: installKey, value: start.install.name }]
  if (start.rotation !== undefined) attributes.push({ key: rotationKey, value: start.rotation })
  return {
    workflowId: start.workflowId,
    taskQueue: queues.control(start.install),
    args: [start.input],
    workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE,
    staticSummary: start.summary,
    typedSearchAttributes: attributes,
    ...(start.memo === undefined ? {} : { memo: start.memo }),
  }
}
