import { randomUUID } from 'node:crypto'
import type { RemoveInput } from '../contracts/removal.ts'
import { refusalOf } from '../protocol/removal-guards.ts'
import { openRequest } from '../store/approval-requests.ts'
import { readApproval, readRules } from '../store/approval-use.ts'
import type { RemovalRequestDoc } from '../store/documents.ts'
import type { PlannedRemovalDoc, PolicyDoc, PolicyRunDoc } from '../store/policy-document.ts'
import { insertTask } from '../store/kek-tasks.ts'
import { readVersion } from '../store/kek-versions.ts'
import { dropPlannedRemoval, putPlannedRemoval } from '../store/policy-runs.ts'
import { openRemoval, readRemoval } from '../store/removal-requests.ts'
import { readRotation } from '../store/rotations.ts'
import { serverNow, type Store } from '../store/store.ts'
import type { ControlDeps } from './deps.ts'
import { approvalSubject } from './removal-approval.ts'
import { evaluateGuards } from './removal-guards.ts'
import { requireIdentity } from './settings.ts'

const actor = 'policy'

/** Requests the removals of the versions that a run has left; a repeat returns the same requests. */
export async function planRemovals(
  { store }: ControlDeps,
  { remove_after_ms: afterMs }: PolicyDoc,
  { rotations }: PolicyRunDoc,
): Promise<RemoveInput[]> {
  if (afterMs === null) return []
  const planned: RemoveInput[] = []
  for (const { id, from: version } of rotations) {
    const row = await readRotation(store, id)
    if (row?.outcome?.startsWith('completed') !== true) continue
    const input = await request(store, { request: `p-${id}`, version, afterMs })
    if (input === null) continue
    planned.push(input)
    const at = new Date((row.ended_at ?? row.started_at).getTime() + afterMs)
    await putPlannedRemoval(store, {
      version,
      request: input.request,
      rotation: id,
      at,
      reason: null,
      tried_at: null,
    })
  }
  return planned
}

/**
 * Asks for the approvals of planned removals that will be due, and tries those that were refused again: when all guards
 * pass, a new request is opened. One that is done, or was undone by a person, is dropped.
 */
export async function triedAgain(
  deps: ControlDeps,
  { removals }: PolicyDoc,
): Promise<RemoveInput[]> {
  const opened: RemoveInput[] = []
  for (const planned of removals) {
    const input = await tryAgain(deps, planned)
    if (input !== null) opened.push(input)
  }
  return opened
}

async function tryAgain(
  deps: ControlDeps,
  planned: PlannedRemovalDoc,
): Promise<RemoveInput | null> {
  const { store } = deps
  const { version } = planned
  const [last, row] = await Promise.all([
    readRemoval(store, planned.request),
    readVersion(store, version),
  ])
  const isOver = row === null || row.destroyed_at !== null
  if (last === null || isOver || last.state === 'withdrawn') {
    await dropPlannedRemoval(store, version)
    return null
  }
  if (last.standing) {
    await askBefore(deps, last)
    return null
  }
  const guards = await evaluateGuards(deps, last, { fenced: false, ownNow: () => new Date() })
  const refusal = refusalOf(version, guards)
  const failing = guards.filter(({ ok }) => !ok).map(({ guard }) => guard)
  if (failing.join() === 'approvals') await askForApprovals(deps, last)
  const tried = { ...planned, tried_at: await serverNow(store) }
  if (refusal !== null) {
    await putPlannedRemoval(store, { ...tried, reason: refusal.message })
    return null
  }
  const input = await request(store, { request: `p-${randomUUID()}`, version, afterMs: 0 })
  if (input !== null) {
    await putPlannedRemoval(store, { ...tried, request: input.request, reason: null })
  }
  return input
}

/** Asks for the approvals of a removal once it is due before a request would expire. */
async function askBefore(deps: ControlDeps, last: RemovalRequestDoc): Promise<void> {
  const { store } = deps
  const { expiresMs } = await readRules(store)
  const now = await serverNow(store)
  const isNear = last.not_before !== null && +last.not_before - +now <= expiresMs
  if (last.state === 'asked' && isNear) await askForApprovals(deps, last)
}

/** Opens the request for the approvals of a removal, if it needs more and none is open. */
async function askForApprovals({ store }: ControlDeps, last: RemovalRequestDoc): Promise<void> {
  const wanted = await approvalSubject(store, last)
  const { required, by } = await readApproval(store, wanted, { usedFor: last._id })
  if (by.length >= required) return
  const { expiresMs } = await readRules(store)
  await openRequest(store, wanted, { by: actor, expiresMs })
}

/** Null while another request of the version is open. */
async function request(
  store: Store,
  { request, version, afterMs }: { request: string; version: number; afterMs: number },
): Promise<RemoveInput | null> {
  const there = await openRemoval(store, {
    request,
    version,
    requestedBy: actor,
    afterMs,
    destroyHsmKey: false,
    acceptQuarantine: false,
    withoutFence: false,
  })
  if (there._id !== request) return null
  const task = await insertTask(store, { kind: 'remove', by: actor })
  return { install: await requireIdentity(store), task, version, request }
}
