import { setTimeout as sleep } from 'node:timers/promises'
import type { WorkflowHandle } from '@temporalio/client'
import type { KeyturnError } from '../../contracts/errors.ts'
import { messages, workflowIds, workflowTypes } from '../../contracts/names.ts'
import type { RemovalProgress, RemoveInput, RemoveResult } from '../../contracts/removal.ts'
import type { Config } from '../../contracts/settings.ts'
import type { RemovalView } from '../../contracts/views.ts'
import { requireInstalled, withKeystore, type Keystore } from '../keystore.ts'
import { fleetNodes } from '../views/nodes.ts'
import { requireVersion } from '../views/versions.ts'
import { requireWorker, whileWorkersLive } from '../views/workers.ts'
import { withTemporal } from './connection.ts'
import { requireDuties } from './duties.ts'
import { fromReport } from './failures.ts'
import { newRemovalRequest, requester } from './names.ts'
import { resultOf, startOrJoin } from './start.ts'
import { callOffWaiting } from './waiting-removal.ts'

const betweenLooksMs = 200

export interface RemoveRequest {
  version: number
  destroyHsmKey: boolean
  acceptQuarantine: boolean
  withoutFence: boolean
}

export interface RemovalReply {
  view: RemovalView
  error: KeyturnError | null
  /** What is left for a person to do; null where nothing is. */
  leftover: string | null
}

/**
 * Requests the removal of a version, or joins the request that stands; what a policy has planned is replaced. Returns once it is `pending-removal`; with an undo
 * window of 0 once it is `destroyed`. The reply's error is the guard that refused it. Throws version-unknown, no-worker.
 */
export async function removeKek(config: Config, request: RemoveRequest): Promise<RemovalReply> {
  return withKeystore(config, async (keystore) => {
    const install = requireInstalled(keystore, config)
    const { store, settings } = keystore
    const { state } = await requireVersion(store, request.version)
    if (state === 'destroyed') return done(keystore, request)
    return withTemporal(config, async (link) => {
      await requireWorker(store)
      await requireDuties(
        link,
        install,
        request.destroyHsmKey ? ['control', 'rewrap'] : ['control'],
      )
      // What a person asks for now replaces what a policy has planned.
      await callOffWaiting(link, store, install, request.version)
      const { undoWindowMs } = settings.removal
      const input: RemoveInput = {
        install,
        ...request,
        request: newRemovalRequest(),
        requestedBy: requester(),
        undoWindowMs,
        afterMs: 0,
      }
      const handle = await startOrJoin(link, {
        type: workflowTypes.remove,
        workflowId: workflowIds.remove(install, request.version),
        install,
        input,
        summary: `removal of v${request.version} of ${install.name}`,
        memo: { request: input.request },
      })
      return whileWorkersLive(store, untilRecorded(keystore, handle, request))
    })
  })
}

/** Waits for whichever comes first: the request in the keystore, or the end of the workflow. */
async function untilRecorded(
  keystore: Keystore,
  handle: WorkflowHandle,
  request: RemoveRequest,
): Promise<RemovalReply> {
  const { store, settings } = keystore
  const { version } = request
  const ended = new AbortController()
  const result = resultOf<RemoveResult>(handle, 'removal-failed')
  const pending = async (): Promise<null> => {
    while (!ended.signal.aborted) {
      const { row, state } = await requireVersion(store, version)
      // Without a window the end is only a moment away.
      if (state === 'pending-removal' && settings.removal.undoWindowMs > 0) {
        if (row.removal?.state === 'requested') return null
      }
      await sleep(betweenLooksMs)
    }
    return null
  }
  try {
    const first = await Promise.race([result, pending()])
    if (first === null) return await pendingReply(store, handle, version)
    return await endedReply(keystore, request, first)
  } finally {
    ended.abort()
    result.catch(() => undefined)
  }
}

async function pendingReply(
  store: Keystore['store'],
  handle: WorkflowHandle,
  version: number,
): Promise<RemovalReply> {
  const progress = await handle.query<RemovalProgress>(messages.progress)
  const { row, state } = await requireVersion(store, version)
  const dueAt = row.removal?.due_at.toISOString() ?? progress.dueAt
  return { view: { version, state, dueAt, guards: progress.guards }, error: null, leftover: null }
}

async function endedReply(
  keystore: Keystore,
  request: RemoveRequest,
  { version, state, guards, error }: RemoveResult,
): Promise<RemovalReply> {
  return {
    view: { version, state, dueAt: null, guards },
    error: fromReport(error, 'removal-failed'),
    leftover: state === 'destroyed' ? await leftoverOf(keystore, request) : null,
  }
}

async function done(keystore: Keystore, request: RemoveRequest): Promise<RemovalReply> {
  const view: RemovalView = {
    version: request.version,
    state: 'destroyed',
    dueAt: null,
    guards: [],
  }
  return { view, error: null, leftover: await leftoverOf(keystore, request) }
}

/** Keyturn cannot delete a variable, and destroys an HSM's key only when it was told to. */
async function leftoverOf({ store }: Keystore, request: RemoveRequest): Promise<string | null> {
  const { row } = await requireVersion(store, request.version)
  if (row.provider === 'pkcs11') {
    const kept = `the key "${row.label}" is still in the HSM: destroy it there when nobody needs it`
    return request.destroyHsmKey ? null : kept
  }
  const nodes = (await fleetNodes(store)).filter(({ decommissioned }) => !decommissioned)
  return `delete the variable "${row.label}" on ${nodes.map(({ node }) => node).join(', ')}`
}
