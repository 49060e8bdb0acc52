import { workflowIds } from '../../contracts/names.ts'
import type { Fleet } from './fleet.ts'

/** Ends the undo window of a version's removal, and resolves when the removal is over. `options`: those of the request. */
export async function endWindow(
  fleet: Fleet,
  version: number,
  ...options: readonly string[]
): Promise<void> {
  await makeDue(fleet, version)
  await fleet.cli('remove', '--version', `${version}`, ...options)
  await removalIsOver(fleet, version)
}

/** Ends the undo window. The next `remove` looks a second time; nothing does before. */
export async function makeDue(fleet: Fleet, version: number): Promise<void> {
  const handle = fleet.temporal.workflow.getHandle(workflowIds.remove(fleet.identity, version))
  // Its timer was set for the whole window: the command starts a new workflow for the same request.
  await handle.terminate('the window is over')
  await handle.result().catch(() => undefined)
  const versions = fleet.store.db.collection<{ _id: number }>('kek_versions')
  await versions.updateOne({ _id: version }, [{ $set: { 'removal.due_at': '$$NOW' } }])
}

export async function removalIsOver(fleet: Fleet, version: number): Promise<void> {
  await fleet.until('the removal is not over', async () => {
    const rows = fleet.store.db.collection('kek_removals')
    return (await rows.countDocuments({ version, standing: true })) === 0
  })
}
