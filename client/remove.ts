import { setTimeout as sleep } from 'node:timers/promises'
import pTimeout from 'p-timeout'
import { KeyturnError } from '../contracts/errors.ts'
import { messages, type InstallIdentity } from '../contracts/names.ts'
import type { RemovalProgress, RemoveResult } from '../contracts/removal.ts'
import type { Config } from '../contracts/settings.ts'
import type { Guard } from '../contracts/views.ts'
import { ownKeyRefusal } from '../protocol/own-key.ts'
import { hsmKeyOf } from '../protocol/removal-phase.ts'
import type { RemovalRequestDoc } from '../store/documents.ts'
import { recordAudit } from '../store/audit-outbox.ts'
import { insertTask } from '../store/kek-tasks.ts'
import { openRemoval, currentRemoval, withdrawRemoval } from '../store/removal-requests.ts'
import { serverNow, type Store } from '../store/store.ts'
import { requireInstalled, withOwnKeystore, type Keystore } from './keystore.ts'
import { Outage } from './outage.ts'
import { usesOf } from './views/uses.ts'
import { requireVersion } from './views/versions.ts'
import { requireWorker } from './views/workers.ts'
import { withTemporal, type TemporalLink } from './temporal/connection.ts'
import { requirePollers } from './temporal/pollers.ts'
import { fromReport } from './temporal/failures.ts'
import { newRemovalRequest, requester } from './temporal/names.ts'
import { approvalsFor } from './approvals/removal.ts'
import { guardsNow } from './preview-removal.ts'
import { leftoverOf, stillThere, type RemovalReply, type RemoveRequest } from './removal-reply.ts'
import { startRemoval } from './temporal/removal-workflow.ts'
import { whileServed } from './temporal/while-served.ts'
import { resultOf, type ClientHandle } from './temporal/start.ts'

const betweenLooksMs = 200
const answersWithinMs = 2_000

/** Gets a line for each thing that a removal waits for. */
export type OnNote = (line: string) => void

/**
 * Requests the removal of a version, or continues the open request; a removal planned by a policy is replaced. Returns
 * once the version is `pending-removal` behind its fence; with an undo window of 0, or one that is over, once it is
 * `destroyed`. For a destroyed version only the HSM step is run, if it is requested and not done. A refusal is the reply's
 * error. Throws version-unknown, no-worker, and removal-pending when the open request has other options.
 */
export async function removeKek(
  config: Config,
  request: RemoveRequest,
  onNote: OnNote,
): Promise<RemovalReply> {
  return withOwnKeystore(config, async (keystore) => {
    const install = requireInstalled(keystore, config)
    const { row, state } = await requireVersion(keystore.store, request.version)
    if (state === 'destroyed') {
      if (!request.destroyHsmKey) return await destroyedReply(keystore, request)
      const foreign = ownKeyRefusal(row, install)
      if (foreign !== null) throw foreign
      if (hsmKeyOf(row) === 'destroyed') return await destroyedReply(keystore, request)
    }
    const unapproved = await approvalsFor(keystore, request)
    if (unapproved !== null) return unapproved
    return withTemporal(config, async (link) =>
      requestRemoval(link, install, keystore, request, onNote),
    )
  })
}

async function requestRemoval(
  link: TemporalLink,
  install: InstallIdentity,
  keystore: Keystore,
  request: RemoveRequest,
  onNote: OnNote,
): Promise<RemovalReply> {
  const { store } = keystore
  await requireWorker(store)
  const queues = request.destroyHsmKey ? (['control', 'rewrap'] as const) : (['control'] as const)
  await requirePollers(link, install, queues)
  const { _id } = await adoptRequest(store, request, onNote)
  const task = await insertTask(store, { kind: 'remove', by: requester() })
  const handle = await startRemoval(link, { install, task, version: request.version, request: _id })
  const recorded = untilRecorded(keystore, handle, request, _id, onNote)
  return whileServed({ link, store, install }, handle.workflowId, recorded)
}

/** Returns the open request, or a new one. */
async function adoptRequest(
  store: Store,
  request: RemoveRequest,
  onNote: OnNote,
): Promise<RemovalRequestDoc> {
  const { version } = request
  const planned = await currentRemoval(store, version)
  // A request of a person replaces one that a policy has planned.
  if (planned?.not_before != null && planned.state === 'asked') {
    const why = { by: requester(), reason: 'replaced by a request of a person' }
    await withdrawRemoval(store, planned._id, 'withdrawn', why)
  }
  const ours = newRemovalRequest()
  const row = await openRemoval(store, {
    ...request,
    request: ours,
    requestedBy: requester(),
    afterMs: 0,
  })
  if (row._id === ours) return row
  // For a destroyed version only the HSM step is left, so its other options do not matter.
  if (row.state !== 'destroyed') requireSameOptions(row, request)
  await recordAudit(store, {
    actor: requester(),
    action: 'removal-adopted',
    subject: `v${version}`,
    details: { request: row._id, requestedBy: row.requested_by },
  })
  onNote(`taking up the request of ${row.requested_by} of ${row.requested_at.toISOString()}`)
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
  const withOptions = options.length === 0 ? 'without options' : `with ${options.join(' ')}`
  throw new KeyturnError(
    'removal-pending',
    `the removal of version ${row.version} was requested ${withOptions}, by ${row.requested_by}`,
    { hint: `request the same, or undo it: keyturn remove --version ${row.version} --undo` },
  )
}

/** Waits for the start of the undo window or for the end of the workflow, whichever comes first. */
async function untilRecorded(
  keystore: Keystore,
  handle: ClientHandle<'remove'>,
  request: RemoveRequest,
  id: string,
  onNote: OnNote,
): Promise<RemovalReply> {
  const ended = new AbortController()
  const result = resultOf(handle, 'removal-failed')
  try {
    const pending = untilPending(keystore, request.version, id, onNote, ended.signal)
    const first = await Promise.race([result, pending])
    if (first === null) return await pendingReply(keystore, handle, request)
    return await endedReply(keystore, request, first)
  } finally {
    ended.abort()
    result.catch(() => undefined)
  }
}

/** Notes what the removal waits for, as recorded in the version's row. Throws after MongoDB was away for a minute. */
async function untilPending(
  { store, settings }: Keystore,
  version: number,
  id: string,
  onNote: OnNote,
  ended: AbortSignal,
): Promise<null> {
  let noted = ''
  const noteOnce = (line: string) => {
    if (line !== noted) onNote((noted = line))
  }
  const outage = new Outage()
  while (!ended.aborted) {
    const seen = await outage.outlast(async () => {
      const { row } = await requireVersion(store, version)
      return { row, now: await serverNow(store) }
    })
    const removal = seen?.row.removal
    if (removal?.request === id && seen?.row.destroyed_at === null) {
      const { fence_try: held, due_at: due } = removal
      const isFenced = removal.fenced_at !== null || removal.without_fence
      if (held !== null) noteOnce(`${held.message}; tried ${held.tries} times, it is tried again`)
      if (isFenced && due > seen.now) {
        if (settings.removal.undoWindowMs > 0) return null
        noteOnce(`pending until ${due.toISOString()}: two heartbeats and a lease must pass`)
      }
    }
    await sleep(betweenLooksMs)
  }
  return null
}

async function pendingReply(
  keystore: Keystore,
  handle: ClientHandle<'remove'>,
  request: RemoveRequest,
): Promise<RemovalReply> {
  const { version } = request
  const { row, state } = await requireVersion(keystore.store, version)
  const dueAt = row.removal?.due_at.toISOString() ?? null
  const known = await guardsOf(handle)
  // A workflow that has just started has not read the guards yet.
  const guards = known.length > 0 ? known : await guardsNow(keystore, version, request)
  const uses = await usesOf(keystore.store, row)
  return {
    view: { version, state, dueAt, hsmKey: hsmKeyOf(row), guards, uses },
    error: null,
    leftover: null,
  }
}

async function guardsOf(handle: ClientHandle<'remove'>): Promise<Guard[]> {
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
  const uses = await usesOf(store, (await requireVersion(store, version)).row)
  const isLeft = state === 'destroyed' && destroyHsmKey && hsmKey === 'kept'
  return {
    view: { version, state, dueAt: null, hsmKey, guards, uses },
    error: isLeft ? stillThere(version, cause) : cause,
    leftover: state === 'destroyed' && !isLeft ? await leftoverOf(store, version, hsmKey) : null,
  }
}

/** The reply for a version that is already destroyed. A requested HSM step that was not done is an error. */
async function destroyedReply(
  { store }: Keystore,
  { version }: RemoveRequest,
): Promise<RemovalReply> {
  const { row } = await requireVersion(store, version)
  const hsmKey = hsmKeyOf(row)
  const isLeft = hsmKey === 'kept' && (await currentRemoval(store, version)) !== null
  return {
    view: {
      version,
      state: 'destroyed',
      dueAt: null,
      hsmKey,
      guards: [],
      uses: await usesOf(store, row),
    },
    error: isLeft ? stillThere(version, null) : null,
    leftover: isLeft ? null : await leftoverOf(store, version, hsmKey),
  }
}
