import type { ClientSession } from 'mongodb'
import type { ErrorReport } from '../contracts/errors.ts'
import type { RotationDoc } from './documents.ts'
import { recordAudit } from './audit-outbox.ts'
import { keystore } from './keystore.ts'
import { endEntry } from './rotations.ts'
import type { Store } from './store.ts'
import { leftNow } from './periods.ts'
import { inTransaction } from './transaction.ts'

/**
 * The marks of a rotation on the rows of its two versions. A removal and a rotation back exclude each other because both
 * write the same row: a mark needs "no removal", a removal "no mark". A mark is set together with a write to the
 * rotation's own row, so a late attempt cannot mark anything for a rotation that is over.
 */

/** Filter of a version that a rotation may name. */
const usable = { canary: { $ne: null }, removal: null, destroyed_at: null }

/**
 * Marks a version's row for a rotation. False when the version is unknown, an intent, in removal or destroyed, if
 * another rotation's mark is on it, or if this rotation has ended. True if its own mark is already set.
 */
export async function markRotation(
  store: Store,
  version: number,
  rotation: string,
): Promise<boolean> {
  return inTransaction(store, async (session) => {
    if (!(await touchRunning(store, rotation, session))) return false
    const { matchedCount } = await keystore
      .versions(store)
      .updateOne(
        { _id: version, rotation: { $in: [null, rotation] }, ...usable },
        { $set: { rotation } },
        { session },
      )
    return matchedCount === 1
  })
}

/**
 * Ends the rotations that began before this one as failed: only one runs at a time, so their workflows are gone. Nothing is
 * written if this one has ended itself, so a late attempt of it ends no rotation.
 */
export async function endAbandoned(
  store: Store,
  { _id, started_at }: RotationDoc,
  error: ErrorReport,
): Promise<void> {
  await inTransaction(store, async (session) => {
    if (!(await touchRunning(store, _id, session))) return
    const before = { _id: { $ne: _id }, ended_at: null, started_at: { $lte: started_at } }
    for (;;) {
      const row = await keystore
        .rotations(store)
        .findOneAndUpdate(
          before,
          [{ $set: { outcome: 'failed', error: { $literal: error }, ended_at: '$$NOW' } }],
          { session, returnDocument: 'after' },
        )
      if (row === null) return
      await recordAudit(store, endEntry(row, {}), session)
    }
  })
}

/**
 * Puts `newRotation`'s mark in place of `oldRotation`'s, which `endAbandoned` has ended. False if the mark is no longer
 * the old one's, or for the reasons of `markRotation`.
 */
export async function takeOverMark(
  store: Store,
  version: number,
  oldRotation: string,
  newRotation: string,
): Promise<boolean> {
  return inTransaction(store, async (session) => {
    if (!(await touchRunning(store, newRotation, session))) return false
    const { matchedCount } = await keystore
      .versions(store)
      .updateOne(
        { _id: version, rotation: oldRotation, ...usable },
        { $set: { rotation: newRotation } },
        { session },
      )
    return matchedCount === 1
  })
}

/** Removes this rotation's marks from all rows. A running rotation keeps them. */
export async function clearMarks(store: Store, rotation: string): Promise<void> {
  const running = await keystore.rotations(store).findOne({ _id: rotation, ended_at: null })
  if (running !== null) return
  await keystore.versions(store).updateMany({ rotation }, { $set: { rotation: null } })
}

/**
 * Takes off the marks of all rotations that have ended. A rotation whose workflow is gone is ended by the next one, which
 * takes over the mark of the version that both name; on the other version the mark would stay and block every removal.
 */
export async function clearEndedMarks(store: Store): Promise<void> {
  const marked = await keystore.versions(store).distinct('rotation', { rotation: { $ne: null } })
  const ended = await keystore
    .rotations(store)
    .find(
      { _id: { $in: marked.filter((mark) => mark !== null) }, ended_at: { $ne: null } },
      { projection: { _id: 1 } },
    )
    .toArray()
  for (const { _id } of ended) await clearMarks(store, _id)
}

/**
 * Records the end of settle on the row of the version that was left: the backup window counts from here. False when the
 * row is not marked for this rotation any more.
 */
export async function recordLeft(
  store: Store,
  version: number,
  rotation: string,
): Promise<boolean> {
  const { matchedCount } = await keystore
    .versions(store)
    .updateOne({ _id: version, rotation }, [{ $set: { left_at: '$$NOW', periods: leftNow } }])
  return matchedCount === 1
}

/** A write that conflicts with the end of the rotation, which writes the same row. */
async function touchRunning(
  store: Store,
  rotation: string,
  session: ClientSession,
): Promise<boolean> {
  const { matchedCount } = await keystore
    .rotations(store)
    .updateOne({ _id: rotation, ended_at: null }, { $inc: { touches: 1 } }, { session })
  return matchedCount === 1
}
