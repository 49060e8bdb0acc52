import { Binary, type ClientSession } from 'mongodb'
import type { NotReadyReason, ProcessRole } from '../contracts/fleet.ts'
import type { HeartbeatDoc } from './documents.ts'
import { parseHeartbeat } from './fleet-documents.ts'
import { keystore } from './keystore.ts'
import { serverNow, type Store } from './store.ts'

export interface Heartbeat {
  node: string
  /** Random id of this process. */
  boot: string
  pid: number
  role: ProcessRole
  /** The active version and epoch as this process knows them; null before it knows. */
  current: number | null
  epoch: number | null
  /** `proven_at`: the database's time (`serverNow`) read *before* the proof was made, so that it never looks younger. */
  loaded: readonly { version: number; proven_at: Date; answers?: string | null }[]
  notLoaded?: readonly { version: number; reason: NotReadyReason; answers?: string | null }[]
  /** SHA-256 of the settings in its own file. */
  settings: Uint8Array | null
  leaseMs: number
  expireMs: number
}

/**
 * Writes this process's document, stamped by the database's clock. `updateMany`, though it is one: for `updateOne` MongoDB
 * writes a record by which the driver may repeat it, once more for each beat, and a beat is repeated anyway.
 */
export async function writeHeartbeat(store: Store, beat: Heartbeat): Promise<void> {
  await keystore.heartbeats(store).updateMany(
    { _id: `${beat.node}/${beat.boot}` },
    [
      {
        $replaceWith: {
          _id: '$_id',
          node: { $literal: beat.node },
          pid: { $literal: beat.pid },
          role: { $literal: beat.role },
          started_at: { $ifNull: ['$started_at', '$$NOW'] },
          at: '$$NOW',
          expires_at: { $add: ['$$NOW', beat.expireMs] },
          lease_until: { $add: ['$$NOW', beat.leaseMs] },
          current: { $literal: beat.current },
          epoch: { $literal: beat.epoch },
          loaded: { $literal: beat.loaded },
          not_loaded: { $literal: beat.notLoaded ?? [] },
          settings: beat.settings === null ? null : new Binary(beat.settings),
        },
      },
    ],
    { upsert: true },
  )
}

/**
 * All documents that are there, expired ones that TTL has not tidied yet too: judge them by `at` or `lease_until`. One that
 * cannot be read is among them by name, as `malformed`.
 */
export async function readHeartbeats(
  store: Store,
  session?: ClientSession,
): Promise<HeartbeatDoc[]> {
  const found = keystore.heartbeats(store).find({}, { ...(session && { session }) })
  return (await found.sort({ _id: 1 }).toArray()).map(parseHeartbeat)
}

/** No process's expiry is further away, in milliseconds. */
const furthestExpiryMs = 24 * 3_600_000

/**
 * Gives an expiry to documents that TTL would never tidy, since theirs is no date or far away. A process that lives
 * writes its own with its next heartbeat.
 */
export async function tidyHeartbeats(store: Store, expireMs: number): Promise<void> {
  const furthest = new Date((await serverNow(store)).getTime() + furthestExpiryMs)
  await keystore
    .heartbeats(store)
    .updateMany(
      { $or: [{ expires_at: { $not: { $type: 'date' } } }, { expires_at: { $gt: furthest } }] },
      [{ $set: { expires_at: { $add: ['$$NOW', expireMs] } } }],
    )
}

/** A clean stop. `id` is `<node>/<boot>`. */
export async function removeHeartbeat(store: Store, id: string): Promise<void> {
  await keystore.heartbeats(store).deleteOne({ _id: id })
}
