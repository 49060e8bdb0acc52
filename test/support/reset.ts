import type { Client } from '@temporalio/client'
import { freshName } from './fresh.ts'

/** Resets a workflow to its first task, as the button of Temporal's UI does. */
export async function resetToBegin(client: Client, workflowId: string): Promise<void> {
  const { runId } = await client.workflow.getHandle(workflowId).describe()
  await client.workflowService.resetWorkflowExecution({
    namespace: client.options.namespace,
    workflowExecution: { workflowId, runId },
    reason: 'a test',
    workflowTaskFinishEventId: 4 as never,
    requestId: freshName('reset'),
  })
}
