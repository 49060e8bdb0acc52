import { messages, workflowIds, type InstallIdentity } from '../../contracts/names.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import type { Config } from '../../contracts/settings.ts'
import type { RemovalView } from '../../contracts/views.ts'
import { fenceOn, lowerFence } from '../../store/fence.ts'
import { appendAudit } from '../../store/kek-audit.ts'
import { undoRemoval as undoInStore } from '../../store/kek-versions.ts'
import type { Store } from '../../store/store.ts'
import { requireInstalled, withKeystore, type Keystore } from '../keystore.ts'
import { requireVersion } from '../views/versions.ts'
import { liveWorkers } from '../views/workers.ts'
import { withTemporal } from './connection.ts'
import { requester } from './names.ts'
import { callOffWaiting } from './waiting-removal.ts'

/**
 * Takes a pending removal back, or calls off one that a policy has planned. Its workflow does it when it can be asked; without worker or Temporal the same update is
 * made here, filtered by the request id, and the workflow finds it undone. Throws no-removal.
 */
export async function undoRemoval(config: Config, version: number): Promise<RemovalView> {
  return withKeystore(config, async (keystore) => {
    const install = requireInstalled(keystore, config)
    const { row, state } = await requireVersion(keystore.store, version)
    if (state !== 'pending-removal' || row.removal === null) {
      const isCalledOff = await withTemporal(config, (link) =>
        callOffWaiting(link, keystore.store, install, version),
      )
      if (isCalledOff) return { version, state, dueAt: null, guards: [] }
      throw new KeyturnError('no-removal', `no removal of version "${version}" is pending`, {
        hint: `it is ${state}; keyturn status shows all versions`,
      })
    }
    const { request } = row.removal
    if (!(await undoneByWorkflow(config, { ...keystore, install }, version))) {
      await undoHere(keystore, version, request)
    }
    const after = await requireVersion(keystore.store, version)
    if (after.state === 'pending-removal') await undoHere(keystore, version, request)
    const { state: now } = await requireVersion(keystore.store, version)
    return { version, state: now, dueAt: null, guards: [] }
  })
}

/** False when the workflow is gone, or nobody is there to run it: then the keystore is enough. */
async function undoneByWorkflow(
  config: Config,
  { store, install }: { store: Store; install: InstallIdentity },
  version: number,
): Promise<boolean> {
  if ((await liveWorkers(store)) === 0) return false
  try {
    return await withTemporal(config, async ({ client }) => {
      const handle = client.workflow.getHandle(workflowIds.remove(install, version))
      await client.withDeadline(Date.now() + 10_000, () =>
        handle.executeUpdate<unknown, []>(messages.undo),
      )
      return true
    })
  } catch {
    return false
  }
}

async function undoHere({ store, settings }: Keystore, version: number, request: string) {
  if (!(await undoInStore(store, version, request))) {
    throw new KeyturnError('no-removal', `the removal of version "${version}" is over`, {
      hint: 'keyturn status shows what became of it',
    })
  }
  for (const collection of settings.collections) {
    await lowerFence(store, fenceOn(collection, version))
  }
  const details = { request }
  const subject = `v${version}`
  await appendAudit(store, { actor: requester(), action: 'removal-undone', subject, details })
}
