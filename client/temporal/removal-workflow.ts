import { messages, workflowIds } from '../../contracts/names.ts'
import type { RemoveInput } from '../../contracts/removal.ts'
import type { TemporalLink } from './connection.ts'
import { describe } from './live-rotation.ts'
import { startOrJoin, type ClientHandle } from './start.ts'

/** How long to wait until a workflow has taken the undo, in milliseconds. The keystore decides, so nothing depends on it. */
const undoWithinMs = 5_000

/** Joins the workflow of this request, or starts one, which continues where the last one ended. */
export async function startRemoval(
  link: TemporalLink,
  input: RemoveInput,
): Promise<ClientHandle<'remove'>> {
  const { install, version, request } = input
  const workflowId = workflowIds.remove(install, version)
  const running = await describe(link, workflowId)
  if (running?.status.name === 'RUNNING' && running.memo?.['request'] !== request) {
    await endRemoval(link, workflowId)
  }
  return startOrJoin(link, {
    workflow: 'remove',
    workflowId,
    install,
    input,
    memo: { request },
    summary: `removal of v${version} of ${install.name}`,
  })
}

/** Ends a workflow whose request was withdrawn: by its undo update, else by termination. */
async function endRemoval(link: TemporalLink, workflowId: string): Promise<void> {
  await sendUndo(link, workflowId)
  const running = await describe(link, workflowId)
  if (running?.status.name !== 'RUNNING') return
  await link.client.workflow.getHandle(workflowId).terminate('its request was withdrawn')
}

/** Notifies a workflow that its request was withdrawn, so that it stops waiting. */
export async function sendUndo(link: TemporalLink, workflowId: string): Promise<void> {
  const handle = link.client.workflow.getHandle(workflowId)
  try {
    await link.client.withDeadline(Date.now() + undoWithinMs, async () => {
      await handle.executeUpdate<unknown, []>(messages.undo)
      await handle.result()
    })
  } catch {
    // The workflow is gone, busy or without a worker. It finds the request withdrawn when it next reads the keystore.
  }
}
