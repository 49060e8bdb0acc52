import type { WorkflowHandle } from '@temporalio/client'
import { messages, workflowIds, workflowTypes } from '../../contracts/names.ts'
import type { RemoveInput } from '../../contracts/removal.ts'
import type { TemporalLink } from './connection.ts'
import { describe } from './live-rotation.ts'
import { startOrJoin } from './start.ts'

/** How long a workflow may take to hear of an undo. It decides nothing, so nothing depends on its answer. */
const hearsWithinMs = 5_000

/** Has somebody work on this request: joins the workflow that does, or starts one, which goes on where the last one ended. */
export async function workOn(link: TemporalLink, input: RemoveInput): Promise<WorkflowHandle> {
  const { install, version, request } = input
  const workflowId = workflowIds.remove(install, version)
  const running = await describe(link, workflowId)
  if (running?.status.name === 'RUNNING' && running.memo?.['request'] !== request) {
    await endRemoval(link, workflowId)
  }
  return startOrJoin(link, {
    ...{ type: workflowTypes.remove, workflowId, install, input, memo: { request } },
    summary: `removal of v${version} of ${install.name}`,
  })
}

/** One that still works on a request that was withdrawn: it hears so and ends, or is ended. */
async function endRemoval(link: TemporalLink, workflowId: string): Promise<void> {
  await hearUndo(link, workflowId)
  const running = await describe(link, workflowId)
  if (running?.status.name !== 'RUNNING') return
  await link.client.workflow.getHandle(workflowId).terminate('its request was withdrawn')
}

/** Tells a workflow that its request was withdrawn, so that it does not wait any longer. */
export async function hearUndo(link: TemporalLink, workflowId: string): Promise<void> {
  const handle = link.client.workflow.getHandle(workflowId)
  try {
    await link.client.withDeadline(Date.now() + hearsWithinMs, async () => {
      await handle.executeUpdate<unknown, []>(messages.undo)
      await handle.result()
    })
  } catch {
    // Gone, busy or without a worker: it finds the request withdrawn whenever it looks.
  }
}
