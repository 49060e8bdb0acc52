import { setTimeout as sleep } from 'node:timers/promises'
import { workflowIds } from '../contracts/names.ts'
import { KeyturnError } from '../contracts/errors.ts'
import type { Config } from '../contracts/settings.ts'
import type { RemovalView } from '../contracts/views.ts'
import { hsmKeyOf } from '../protocol/removal-phase.ts'
import { fenceOn, lowerFence, refusesVersion, type Fence } from '../store/fence.ts'
import { currentRemoval, withdrawRemoval } from '../store/removal-requests.ts'
import type { RemovalRequestDoc } from '../store/documents.ts'
import { requireInstalled, withOwnKeystore, type Keystore } from './keystore.ts'
import { usesOf } from './views/uses.ts'
import { requireVersion } from './views/versions.ts'
import { liveWorkers } from './views/workers.ts'
import { withTemporal } from './temporal/connection.ts'
import { requester } from './temporal/names.ts'
import { sendUndo } from './temporal/removal-workflow.ts'
import type { OnNote } from './remove.ts'

/** An open transaction can keep a fence in place. How often its removal is tried, and the pause between tries, in ms. */
const tries = 20
const pauseMs = 3_000

/**
 * Withdraws a removal, pending or planned by a policy, and removes its fence. It needs only the keystore, no worker and no
 * Temporal; the workflow is only notified. Where nothing is pending, a leftover fence is removed. Throws no-removal when
 * there is neither, fence-left when a fence stays.
 */
export async function undoRemoval(
  config: Config,
  version: number,
  onNote: OnNote,
): Promise<RemovalView> {
  return withOwnKeystore(config, async (keystore) => {
    const install = requireInstalled(keystore, config)
    const { store } = keystore
    // In this order: a removal that ends in between is seen as over, and the fence of a destroyed version stays.
    const request = await currentRemoval(store, version)
    const { row: before, state } = await requireVersion(store, version)
    const mayGoBack = before.destroyed_at === null
    if (request !== null && mayGoBack) await withdraw(keystore, request)
    const lowered = mayGoBack ? await lowerAll(keystore, version, onNote) : 0
    if (!mayGoBack || (request === null && lowered === 0)) {
      throw new KeyturnError('no-removal', `no removal of version "${version}" is pending`, {
        hint: `it is ${state}; keyturn status shows all versions`,
      })
    }
    if (request !== null)
      await notifyWorkflow(config, keystore, workflowIds.remove(install, version))
    const { row, state: now } = await requireVersion(store, version)
    const uses = await usesOf(store, row)
    return { version, state: now, dueAt: null, hsmKey: hsmKeyOf(row), guards: [], uses }
  })
}

async function withdraw({ store }: Keystore, request: RemovalRequestDoc): Promise<void> {
  const { _id, version } = request
  const why = { by: requester(), reason: 'undone by its operator' }
  if (!(await withdrawRemoval(store, _id, 'withdrawn', why))) {
    throw new KeyturnError('no-removal', `the removal of version "${version}" is over`, {
      hint: 'keyturn status shows what became of it',
    })
  }
}

/** Returns how many fences were removed. */
async function lowerAll(
  { store, settings }: Keystore,
  version: number,
  onNote: OnNote,
): Promise<number> {
  let lowered = 0
  for (const collection of settings.collections) {
    const fence = fenceOn(collection, version)
    if (!(await refusesVersion(store, fence))) continue
    lowered += 1
    for (let tried = 1; (await lowerFence(store, fence)) === 'busy'; tried += 1) {
      onNote(
        `an open transaction keeps the fence on collection "${collection.name}": tried ${tried} times`,
      )
      if (tried === tries) throw staysUp(fence)
      await sleep(pauseMs)
    }
  }
  return lowered
}

function staysUp({ collection, version }: Fence): KeyturnError {
  return new KeyturnError(
    'fence-left',
    `the removal is undone, but the fence on collection "${collection}" stays: a transaction is open`,
    { hint: `end it, then again: keyturn remove --version ${version} --undo` },
  )
}

async function notifyWorkflow(
  config: Config,
  { store }: Keystore,
  workflowId: string,
): Promise<void> {
  if ((await liveWorkers(store)) === 0) return
  try {
    await withTemporal(config, (link) => sendUndo(link, workflowId))
  } catch {
    // The undo does not need Temporal.
  }
}
