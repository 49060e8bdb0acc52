import {
  WorkflowExecutionAlreadyStartedError,
  type WorkflowHandle,
  type WorkflowResultType,
} from '@temporalio/client'
import {
  defineSearchAttributeKey,
  WorkflowIdConflictPolicy,
  WorkflowIdReusePolicy,
  type Workflow,
} from '@temporalio/common'
import type { ErrorCode } from '../../contracts/errors.ts'
import {
  queues,
  searchAttributes,
  workflowTypes,
  type InstallIdentity,
} from '../../contracts/names.ts'
import type { installKek, removeKek, rotateKek, verifyFleet } from '../../workflows/index.ts'
import type { TemporalLink } from './connection.ts'
import { decodeFailure } from './failures.ts'

const installKey = defineSearchAttributeKey(searchAttributes.install, 'KEYWORD')
const rotationKey = defineSearchAttributeKey(searchAttributes.rotation, 'KEYWORD')

/** The workflows that a client starts, by their key in `workflowTypes`. */
export interface ClientWorkflows {
  install: typeof installKek
  verify: typeof verifyFleet
  rotate: typeof rotateKek
  remove: typeof removeKek
}

/** A workflow with its input alone: further arguments come from its own previous run. */
type WithInput<W extends Workflow> = (input: Parameters<W>[0]) => ReturnType<W>

export type ClientHandle<K extends keyof ClientWorkflows> = WorkflowHandle<
  WithInput<ClientWorkflows[K]>
>

export type ClientResult<K extends keyof ClientWorkflows> = WorkflowResultType<
  WithInput<ClientWorkflows[K]>
>

export interface Start<K extends keyof ClientWorkflows> {
  workflow: K
  workflowId: string
  install: InstallIdentity
  input: Parameters<ClientWorkflows[K]>[0]
  /** One line for the Temporal UI's list. */
  summary: string
  memo?: Record<string, unknown>
  rotation?: string
}

/** Starts a workflow; null when one already runs under the same id. */
export async function startAlone<K extends keyof ClientWorkflows>(
  link: TemporalLink,
  start: Start<K>,
): Promise<{ workflowId: string; runId: string } | null> {
  try {
    const handle = await startWith(link, start, WorkflowIdConflictPolicy.FAIL)
    return { workflowId: handle.workflowId, runId: handle.firstExecutionRunId }
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) return null
    throw error
  }
}

/** Starts a workflow, or joins the one that runs under the same id, so that a repeated request is safe. */
export async function startOrJoin<K extends keyof ClientWorkflows>(
  link: TemporalLink,
  start: Start<K>,
): Promise<ClientHandle<K>> {
  return startWith(link, start, WorkflowIdConflictPolicy.USE_EXISTING)
}

/** The result of a workflow. Throws its failure as a KeyturnError, with the code `otherwise` when the failure has none. */
export async function resultOf<W extends Workflow>(
  handle: WorkflowHandle<W>,
  otherwise: ErrorCode,
): Promise<WorkflowResultType<W>> {
  try {
    return await handle.result()
  } catch (error) {
    throw decodeFailure(error, otherwise)
  }
}

function startWith<K extends keyof ClientWorkflows>(
  { client }: TemporalLink,
  start: Start<K>,
  workflowIdConflictPolicy: WorkflowIdConflictPolicy,
) {
  const attributes = [{ key: installKey, value: start.install.name }]
  if (start.rotation !== undefined) attributes.push({ key: rotationKey, value: start.rotation })
  return client.workflow.start<WithInput<ClientWorkflows[K]>>(workflowTypes[start.workflow], {
    workflowId: start.workflowId,
    taskQueue: queues.control(start.install),
    args: [start.input],
    workflowIdConflictPolicy,
    workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE,
    staticSummary: start.summary,
    typedSearchAttributes: attributes,
    ...(start.memo === undefined ? {} : { memo: start.memo }),
  })
}
