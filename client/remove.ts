import { setTimeout as sleep } from 'node:timers/promises'
import pTimeout from 'p-timeout'
import type { WorkflowHandle } from '@temporalio/client'
import { KeyturnError } from '../contracts/errors.ts'
import { messages, type InstallIdentity } from '../contracts/names.ts'
import type { RemovalProgress, RemoveResult } from '../contracts/removal.ts'
import type { Config } from '../contracts/settings.ts'
import type { Guard } from '../contracts/views.ts'
import { ownKeyRefusal } from '../protocol/own-key.ts'
import { hsmKeyOf } from '../protocol/removal-phase.ts'
import type { RemovalRequestDoc } from '../store/documents.ts'
import { insertTask } from '../store/kek-tasks.ts'
import { openRemoval, standingRemoval, withdrawRemoval } from '../store/removal-requests.ts'
import { serverNow, type Store } from '../store/store.ts'
import { requireInstalled, withOwnKeystore, type Keystore } from './keystore.ts'
import { requireVersion } from './views/versions.ts'
import { requireWorker } from './views/workers.ts'
import { withTemporal, type TemporalLink } from './temporal/connection.ts'
import { requirePollers } from './temporal/pollers.ts'
import { fromReport } from './temporal/failures.ts'
import { newRemovalRequest, requester } from './temporal/names.ts'
import { guardsNow } from './removal-look.ts'
import { leftoverOf, stillThere, type RemovalReply, type RemoveRequest } from './removal-reply.ts'
import { workOn } from './temporal/removal-workflow.ts'
import { whileServed } from './rotations/served.ts'
import { resultOf } from './temporal/start.ts'

const betweenLooksMs = 200
const answersWithinMs = 2_000

/** Hears what a removal waits for. */
export type Tell = (line: string) => void

/**
 * Requests the removal of a version, or takes up the request that stands, wherever it was left; what a policy has planned
 * is replaced. Returns once the version is `pending-removal` behind its fence; with an undo window of 0, or one that is
 * over, once it is `destroyed`. Of a version that is destroyed, the HSM step, if it is asked for and not done. The reply's
 * error is what refused it. Throws version-unknown, no-worker, and removal-pending when other options were asked for.
 */
export async function removeKek(
  config: Config,
  request: RemoveRequest,
  tell: Tell,
): Promise<RemovalReply> {
  return withOwnKeystore(config, async (keystore) => {
    const install = requireInstalled(keystore, config)
    const { row, state } = await requireVersion(keystore.store, request.version)
    if (state === 'destroyed') {
      if (!request.destroyHsmKey) return await kept(keystore, request)
      const foreign = ownKeyRefusal(row, install)
      if (foreign !== null) throw foreign
      if (hsmKeyOf(row) === 'destroyed') return await kept(keystore, request)
    }
    return withTemporal(config, async (link) => work(link, install, keystore, request, tell))
  })
}

async function work(
  link: TemporalLink,
  install: InstallIdentity,
  keystore: Keystore,
  request: RemoveRequest,
  tell: Tell,
): Promise<RemovalReply> {
  const { store } = keystore
  await requireWorker(store)
  const duties = request.destroyHsmKey ? (['control', 'rewrap'] as const) : (['control'] as const)
  await requirePollers(link, install, duties)
  const { _id } = await takeUp(store, request, tell)
  const task = await insertTask(store, { kind: 'remove', by: requester() })
  const handle = await workOn(link, { install, task, version: request.version, request: _id })
  const recorded = untilRecorded(keystore, handle, request, _id, tell)
  return whileServed({ link, store, install }, handle.workflowId, recorded)
}

/** The request that counts from now: the standing one, or a new one. */
async function takeUp(
  store: Store,
  request: RemoveRequest,
  tell: Tell,
): Promise<RemovalRequestDoc> {
  const { version } = request
  const planned = await standingRemoval(store, version)
  // What a person asks for now replaces what a policy has planned.
  if (planned?.not_before != null && planned.state === 'asked') {
    await withdrawRemoval(store, planned._id, 'withdrawn')
  }
  const ours = newRemovalRequest()
  const row = await openRemoval(store, {
    ...{ ...request, request: ours, requestedBy: requester(), afterMs: 0 },
  })
  if (row._id === ours) return row
  // Of a destroyed version only the HSM step is left, whatever else was asked for.
  if (row.state !== 'destroyed') requireSameOptions(row, request)
  tell(`taking up the request of ${row.requested_by} of ${row.requested_at.toISOString()}`)
  return row
}

function requireSameOptions(row: RemovalRequestDoc, request: RemoveRequest): void {
  const isSame =
    row.destroy_hsm_key === request.destroyHsmKey &&
    row.accept_quarantine === request.acceptQuarantine &&
    row.without_fence === request.withoutFence
  if (isSame) return
  const options = [
    ...(row.destroy_hsm_key ? ['--destroy-hsm-key'] : []),
    ...(row.accept_quarantine ? ['--accept-quarantine'] : []),
    ...(row.without_fence ? ['--without-fence'] : []),
  ]
  const asked = options.length === 0 ? 'without options' : `with ${options.join(' ')}`
  throw new KeyturnError(
    'removal-pending',
    `the removal of version ${row.version} was asked for ${asked}, by ${row.requested_by}`,
    { hint: `ask for the same, or take it back: keyturn remove --version ${row.version} --undo` },
  )
}

/** Waits for whichever comes first: the window that begins behind the fence, or the end of the workflow. */
async function untilRecorded(
  keystore: Keystore,
  handle: WorkflowHandle,
  request: RemoveRequest,
  id: string,
  tell: Tell,
): Promise<RemovalReply> {
  const ended = new AbortController()
  const result = resultOf<RemoveResult>(handle, 'removal-failed')
  try {
    const pending = untilPending(keystore, request.version, id, tell, ended.signal)
    const first = await Promise.race([result, pending])
    if (first === null) return await pendingReply(keystore, handle, request)
    return await endedReply(keystore, request, first)
  } finally {
    ended.abort()
    result.catch(() => undefined)
  }
}

/** Tells what is waited for, as the version's row says it. */
async function untilPending(
  { store, settings }: Keystore,
  version: number,
  id: string,
  tell: Tell,
  ended: AbortSignal,
): Promise<null> {
  let told = ''
  const tellOnce = (line: string) => {
    if (line !== told) tell((told = line))
  }
  while (!ended.aborted) {
    const { row } = await requireVersion(store, version)
    const { removal } = row
    if (removal?.request === id && row.destroyed_at === null) {
      const { fence_try: held, due_at: due } = removal
      const isFenced = removal.fenced_at !== null || removal.without_fence
      if (held !== null) tellOnce(`${held.message}; tried ${held.tries} times, it is tried again`)
      if (isFenced && due > (await serverNow(store))) {
        if (settings.removal.undoWindowMs > 0) return null
        tellOnce(`pending until ${due.toISOString()}: two heartbeats and a lease must pass`)
      }
    }
    await sleep(betweenLooksMs)
  }
  return null
}

async function pendingReply(
  keystore: Keystore,
  handle: WorkflowHandle,
  request: RemoveRequest,
): Promise<RemovalReply> {
  const { version } = request
  const { row, state } = await requireVersion(keystore.store, version)
  const dueAt = row.removal?.due_at.toISOString() ?? null
  const asked = await guardsOf(handle)
  // A workflow that took a request up has not looked yet.
  const guards = asked.length > 0 ? asked : await guardsNow(keystore, version, request)
  return {
    view: { version, state, dueAt, hsmKey: hsmKeyOf(row), guards },
    error: null,
    leftover: null,
  }
}

async function guardsOf(handle: WorkflowHandle): Promise<Guard[]> {
  try {
    const answer = handle.query<RemovalProgress>(messages.progress)
    const { guards } = await pTimeout(answer, { milliseconds: answersWithinMs })
    return guards
  } catch {
    return []
  }
}

async function endedReply(
  { store }: Keystore,
  { version, destroyHsmKey }: RemoveRequest,
  { state, hsmKey, guards, error }: RemoveResult,
): Promise<RemovalReply> {
  const cause = fromReport(error, 'removal-failed')
  const isLeft = state === 'destroyed' && destroyHsmKey && hsmKey === 'kept'
  return {
    view: { version, state, dueAt: null, hsmKey, guards },
    error: isLeft ? stillThere(version, cause) : cause,
    leftover: state === 'destroyed' && !isLeft ? await leftoverOf(store, version, hsmKey) : null,
  }
}

/** Of a version that is destroyed already, when nothing is to be done; `kept` although asked for is no success. */
async function kept({ store }: Keystore, { version }: RemoveRequest): Promise<RemovalReply> {
  const { row } = await requireVersion(store, version)
  const hsmKey = hsmKeyOf(row)
  const isLeft = hsmKey === 'kept' && (await standingRemoval(store, version)) !== null
  return {
    view: { version, state: 'destroyed', dueAt: null, hsmKey, guards: [] },
    error: isLeft ? stillThere(version, null) : null,
    leftover: isLeft ? null : await leftoverOf(store, version, hsmKey),
  }
}
