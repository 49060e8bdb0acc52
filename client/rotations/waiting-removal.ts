import { WorkflowNotFoundError } from '@temporalio/client'
import { messages, workflowIds, type InstallIdentity } from '../../contracts/names.ts'
import type { RemovalProgress } from '../../contracts/removal.ts'
import type { Store } from '../../store/store.ts'
import { requireWorker } from '../views/workers.ts'
import type { TemporalLink } from './connection.ts'

/**
 * Calls off a removal that a policy has planned and that nothing is recorded of yet. False when none waits.
 * Throws no-worker when one may wait and nobody is there to ask it.
 */
export async function callOffWaiting(
  { client }: TemporalLink,
  store: Store,
  install: InstallIdentity,
  version: number,
): Promise<boolean> {
  const handle = client.workflow.getHandle(workflowIds.remove(install, version))
  try {
    if ((await handle.describe()).status.name !== 'RUNNING') return false
    await requireWorker(store)
    const { state } = await handle.query<RemovalProgress>(messages.progress)
    if (state !== 'waiting') return false
    await handle.executeUpdate<unknown, []>(messages.undo)
    await handle.result()
    return true
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false
    throw error
  }
}
