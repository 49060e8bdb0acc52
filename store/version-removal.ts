import type { ClientSession } from 'mongodb'
import { recordAudit, type AuditEntry } from './audit-outbox.ts'
import type { RemovalRequestDoc, VersionDoc } from './documents.ts'
import { keystore } from './keystore.ts'
import type { Store } from './store.ts'
import { inTransaction } from './transaction.ts'

/**
 * The removal of a version, on its row in `kek_versions`. Each decisive write is filtered by the request's id, and also
 * writes the request's row, so that a withdrawal and a step exclude each other. During a removal no rotation can mark the
 * row (rotation-marks.ts), and without a mark nothing can promote the version. The same transaction reads that the version
 * is not active.
 */

/** Uses or verifies the removal's approvals, in the transaction of a step. Throws `approval-missing`. */
export type InRemoval = (session: ClientSession) => Promise<void>

/**
 * The version is `pending-removal` from here, and may be destroyed once `windowMs` are over (at once when it was never
 * active: nothing was ever wrapped under it). False when the request is not open or its time has not come, and when
 * the version is unknown, an intent, active, destroyed, marked by a rotation, or in removal under another id. The same
 * id again: true, and nothing changes.
 */
export async function requestRemoval(
  store: Store,
  request: string,
  windowMs: number,
  worker: string,
  approve: InRemoval,
): Promise<boolean> {
  return inTransaction(store, async (session) => {
    const open = await keystore.removals(store).findOneAndUpdate(
      {
        _id: request,
        standing: true,
        state: { $in: ['asked', 'requested'] },
        $expr: { $lte: [{ $ifNull: ['$not_before', '$requested_at'] }, '$$NOW'] },
      },
      { $set: { state: 'requested' } },
      { session },
    )
    if (open === null || (await isActive(store, open.version, session))) return refuse(session)
    const row = await keystore.versions(store).findOne({ _id: open.version }, { session })
    if (row?.removal?.request === request) return row.destroyed_at === null
    const waitMs = row !== null && isUnused(row) ? 0 : windowMs
    const { matchedCount } = await keystore.versions(store).updateOne(
      {
        _id: open.version,
        rotation: null,
        removal: null,
        destroyed_at: null,
        canary: { $ne: null },
      },
      [
        {
          $set: {
            removal: {
              request: { $literal: request },
              requested_by: { $literal: open.requested_by },
              requested_at: '$$NOW',
              due_at: { $add: ['$$NOW', waitMs] },
              guard_run: { $literal: 0 },
              without_fence: { $literal: open.without_fence },
              fenced_at: null,
              fence_try: null,
              hsm_key: null,
            },
          },
        },
      ],
      { session },
    )
    if (matchedCount === 0) return refuse(session)
    await recordAudit(store, removalEntry(open, 'removal-requested', worker), session)
    await approve(session)
    return true
  })
}

/** The entry of a step of a removal. The actor is what the request claims; the worker is known. */
export function removalEntry(
  { _id, version, requested_by }: RemovalRequestDoc,
  action: string,
  worker: string,
  details: object = {},
): AuditEntry {
  return {
    actor: requested_by,
    action,
    subject: `v${version}`,
    details: { request: _id, claimed: true, worker, ...details },
  }
}

/** Starts a run of the guards and returns its number; null if the request is not open. */
export async function raiseGuardRun(
  store: Store,
  version: number,
  request: string,
): Promise<number | null> {
  const row = await keystore
    .versions(store)
    .findOneAndUpdate(
      { _id: version, 'removal.request': request, destroyed_at: null },
      { $inc: { 'removal.guard_run': 1 } },
      { returnDocument: 'after', projection: { removal: 1 } },
    )
  return row?.removal?.guard_run ?? null
}

/** Records that the validators of this request are set on all collections. False if the request is not open. */
export async function setFenced(store: Store, version: number, request: string): Promise<boolean> {
  const { matchedCount } = await keystore
    .versions(store)
    .updateOne({ _id: version, 'removal.request': request, destroyed_at: null }, [
      { $set: { 'removal.fenced_at': '$$NOW', 'removal.fence_try': null } },
    ])
  return matchedCount === 1
}

/** Records a failed try to set the validator. False if the request is not open. */
export async function setFenceTry(
  store: Store,
  version: number,
  request: string,
  failed: { tries: number; message: string },
): Promise<boolean> {
  const { matchedCount } = await keystore
    .versions(store)
    .updateOne({ _id: version, 'removal.request': request, destroyed_at: null }, [
      {
        $set: {
          'removal.fence_try': {
            at: '$$NOW',
            tries: failed.tries,
            message: { $literal: failed.message },
          },
        },
      },
    ])
  return matchedCount === 1
}

/**
 * The end of a version, for good. False unless the request is still open, its window is over, its fence is recorded (or
 * waived, or not needed), `guardRun` is its latest run of the guards, no rotation has marked the row, and the version is
 * not active. Destroyed already by this very run: true.
 */
export async function destroyVersion(
  store: Store,
  version: number,
  request: string,
  guardRun: number,
  worker: string,
  approved: InRemoval,
): Promise<boolean> {
  return inTransaction(store, async (session) => {
    const passed = { _id: version, 'removal.request': request, 'removal.guard_run': guardRun }
    const done = await keystore
      .versions(store)
      .findOne({ ...passed, destroyed_at: { $ne: null } }, { session })
    if (done !== null) return true
    const open = await keystore
      .removals(store)
      .findOneAndUpdate(
        { _id: request, version, standing: true, state: 'requested' },
        [{ $set: { state: 'destroyed', standing: '$destroy_hsm_key' } }],
        { session },
      )
    if (open === null || (await isActive(store, version, session))) return refuse(session)
    const row = await keystore.versions(store).findOneAndUpdate(
      {
        ...passed,
        rotation: null,
        destroyed_at: null,
        $expr: { $lte: ['$removal.due_at', '$$NOW'] },
        $or: [
          { 'removal.fenced_at': { $ne: null } },
          { 'removal.without_fence': true },
          { activated_at: null, left_at: null },
        ],
      },
      [{ $set: { destroyed_at: '$$NOW' } }],
      { session },
    )
    if (row === null) return refuse(session)
    await approved(session)
    const action = isUnused(row) ? 'version-discarded' : 'version-destroyed'
    await recordAudit(store, removalEntry(open, action, worker), session)
    return true
  })
}

/**
 * Records, once for each request, that a destroyed version's key is about to be destroyed in the HSM. False if the request
 * is not open or does not ask for that. The approvals are verified each time.
 */
export async function recordKeyDestroying(
  store: Store,
  request: string,
  worker: string,
  approve: InRemoval,
): Promise<boolean> {
  return inTransaction(store, async (session) => {
    const asked = { _id: request, standing: true, destroy_hsm_key: true }
    const open = await keystore.removals(store).findOne(asked, { session })
    if (open === null) return false
    await approve(session)
    const { modifiedCount } = await keystore
      .removals(store)
      .updateOne(
        { ...asked, key_destroying_at: { $exists: false } },
        [{ $set: { key_destroying_at: '$$NOW' } }],
        { session },
      )
    if (modifiedCount === 0) return true
    const named = await namedKey(store, open.version, session)
    await recordAudit(store, removalEntry(open, 'hsm-key-destroying', worker, named ?? {}), session)
    return true
  })
}

/** Label and id of a version's key, for the audit. */
async function namedKey(
  store: Store,
  version: number,
  session: ClientSession,
): Promise<{ label: string; id: string | null } | null> {
  const row = await keystore.versions(store).findOne({ _id: version }, { session })
  return row === null ? null : { label: row.label, id: row.key_id?.toString('hex') ?? null }
}

/**
 * Records what became of the object in the HSM of a version that is destroyed, and ends the request that asked for it.
 * False, and nothing changes, when that request is not open, or was not for it. `none`: there never was one.
 */
export async function recordHsmKey(
  store: Store,
  request: string,
  outcome: 'destroyed' | 'absent' | 'none',
  worker: string,
): Promise<boolean> {
  return inTransaction(store, async (session) => {
    const open = await keystore
      .removals(store)
      .findOneAndUpdate(
        { _id: request, standing: true, destroy_hsm_key: true },
        { $set: { state: 'destroyed', standing: false } },
        { session },
      )
    if (open === null) return false
    const { matchedCount } = await keystore
      .versions(store)
      .updateOne(
        { _id: open.version, destroyed_at: { $ne: null }, removal: { $ne: null } },
        outcome === 'none' ? { $set: {} } : { $set: { 'removal.hsm_key': outcome } },
        { session },
      )
    if (matchedCount === 0) return refuse(session)
    // Another request may have destroyed it: then nothing was looked for.
    if (open.key_destroying_at !== undefined && outcome !== 'none') {
      const named = await namedKey(store, open.version, session)
      await recordAudit(
        store,
        removalEntry(open, `hsm-key-${outcome}`, worker, named ?? {}),
        session,
      )
    }
    return true
  })
}

/** Other rows that name the same label or the same key: destroying this row's object could destroy theirs. */
export async function sharesKey(
  store: Store,
  row: { _id: number; label: string; key_id: unknown },
): Promise<number | null> {
  const names = [{ label: row.label }, ...(row.key_id === null ? [] : [{ key_id: row.key_id }])]
  const other = await keystore
    .versions(store)
    .findOne({ _id: { $ne: row._id }, $or: names } as never)
  return other?._id ?? null
}

/** Nothing was ever wrapped under it. */
function isUnused({ activated_at, left_at }: VersionDoc): boolean {
  return activated_at === null && left_at === null
}

async function isActive(store: Store, version: number, session: ClientSession): Promise<boolean> {
  return (await keystore.active(store).findOne({ _id: 'active', version }, { session })) !== null
}

/** Thrown to abort the transaction, so that nothing written before the refusal is kept. */
async function refuse(session: ClientSession): Promise<false> {
  await session.abortTransaction()
  return false
}
