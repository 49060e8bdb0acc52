import type { ClientSession } from 'mongodb'
import { keystore } from './keystore.ts'
import type { Store } from './store.ts'
import { inTransaction } from './transaction.ts'

/**
 * The removal of a version, on its row in `kek_versions`. Each decisive write is filtered by the request's id, so an
 * attempt of an older request changes nothing. While a removal stands no rotation can mark the row (rotation-marks.ts),
 * and without a mark nothing can promote the version; that it is not the active one is read in the same transaction.
 */

export interface RemovalRequest {
  /** A new id, which names this removal. */
  request: string
  requestedBy: string
  undoWindowMs: number
  destroyHsmKey: boolean
  withoutFence: boolean
}

/**
 * Writes the request: the version is `pending-removal`. False when the version is unknown, an intent, active, destroyed,
 * marked by a rotation, in removal under another id, or when this very request was taken back. The same id again: true.
 */
export async function requestRemoval(
  store: Store,
  version: number,
  removal: RemovalRequest,
): Promise<boolean> {
  return inTransaction(store, async (session) => {
    if (await isActive(store, version, session)) return false
    const row = await keystore.versions(store).findOne({ _id: version }, { session })
    if (row?.removal?.request === removal.request) return row.destroyed_at === null
    const { matchedCount } = await keystore.versions(store).updateOne(
      {
        ...{ _id: version, rotation: null, removal: null, destroyed_at: null },
        // A late repeat of a request that was taken back must not ask again.
        ...{ canary: { $ne: null }, undone_request: { $ne: removal.request } },
      },
      [
        {
          $set: {
            removal: {
              request: { $literal: removal.request },
              state: 'requested',
              requested_by: { $literal: removal.requestedBy },
              requested_at: '$$NOW',
              due_at: { $add: ['$$NOW', removal.undoWindowMs] },
              guard_run: { $literal: 0 },
              destroy_hsm_key: { $literal: removal.destroyHsmKey },
              without_fence: { $literal: removal.withoutFence },
              fenced: [],
            },
          },
        },
      ],
      { session },
    )
    return matchedCount === 1
  })
}

/** Takes the request back: `deactivated` again. False when that request does not stand, or has destroyed the version. */
export async function undoRemoval(
  store: Store,
  version: number,
  request: string,
): Promise<boolean> {
  const { matchedCount } = await keystore
    .versions(store)
    .updateOne(
      { _id: version, 'removal.request': request, destroyed_at: null },
      { $set: { removal: null, undone_request: request } },
    )
  return matchedCount === 1
}

/** Begins a run of the guards and returns its number; null when that request does not stand. */
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

/** Records on which collections the fence of this request stands. False when that request does not stand. */
export async function setFenced(
  store: Store,
  version: number,
  request: string,
  collections: readonly string[],
): Promise<boolean> {
  const { matchedCount } = await keystore
    .versions(store)
    .updateOne(
      { _id: version, 'removal.request': request, destroyed_at: null },
      { $set: { 'removal.fenced': [...collections] } },
    )
  return matchedCount === 1
}

/**
 * The end of a version, for good. False unless the request still stands, `guardRun` is its latest run of the guards, no
 * rotation has marked the row, and the version is not active. Destroyed already by this very run: true.
 */
export async function destroyVersion(
  store: Store,
  version: number,
  request: string,
  guardRun: number,
): Promise<boolean> {
  return inTransaction(store, async (session) => {
    if (await isActive(store, version, session)) return false
    const passed = {
      _id: version,
      'removal.request': request,
      'removal.guard_run': guardRun,
      rotation: null,
    }
    const { matchedCount } = await keystore
      .versions(store)
      .updateOne({ ...passed, destroyed_at: null }, [{ $set: { destroyed_at: '$$NOW' } }], {
        session,
      })
    if (matchedCount === 1) return true
    const done = await keystore
      .versions(store)
      .findOne({ ...passed, destroyed_at: { $ne: null } }, { session })
    return done !== null
  })
}

async function isActive(store: Store, version: number, session: ClientSession): Promise<boolean> {
  return (await keystore.active(store).findOne({ _id: 'active', version }, { session })) !== null
}
