import { ScheduleNotFoundError, WorkflowNotFoundError } from '@temporalio/client'
import { searchAttributes, workflowIds, type InstallIdentity } from '../../contracts/names.ts'
import { hasTask } from '../../store/kek-tasks.ts'
import type { Store } from '../../store/store.ts'
import type { TemporalLink } from './connection.ts'

/**
 * Terminates work that was started in a state of the keystore that no longer exists: running workflows of this install, and
 * a policy without a row. Their activities would find no row. Returns their ids.
 */
export async function endForeignWork(
  link: TemporalLink,
  store: Store,
  install: InstallIdentity,
): Promise<string[]> {
  const { workflow } = link.client
  const ended: string[] = []
  const query = `${searchAttributes.install} = '${install.name}' AND ExecutionStatus = 'Running'`
  const beginning = workflowIds.policy(install).replace(/policy$/, '')
  for await (const { workflowId } of workflow.list({ query })) {
    if (!workflowId.startsWith(beginning)) continue
    try {
      await workflow.getHandle(workflowId).terminate('the keystore was restored')
      ended.push(workflowId)
    } catch (error) {
      // The workflow has just ended.
      if (!(error instanceof WorkflowNotFoundError)) throw error
    }
  }
  if (await endPolicy(link, store, install)) ended.push(workflowIds.policy(install))
  return ended
}

/** Deletes a policy that has no row in this state of the keystore; returns whether it did. */
async function endPolicy(
  { client }: TemporalLink,
  store: Store,
  install: InstallIdentity,
): Promise<boolean> {
  const handle = client.schedule.getHandle(workflowIds.policy(install))
  try {
    const { action } = await handle.describe()
    const [input] = (action.args ?? []) as unknown[]
    const { task } = (input ?? {}) as { task?: unknown }
    if (typeof task === 'string' && (await hasTask(store, task))) return false
    await handle.delete()
    return true
  } catch (error) {
    if (error instanceof ScheduleNotFoundError) return false
    throw error
  }
}
