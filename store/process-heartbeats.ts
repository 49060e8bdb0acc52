import { Binary, type ClientSession } from 'mongodb'
import type { NotReadyReason, ProcessRole } from '../contracts/fleet.ts'
import type { HeartbeatDoc } from './documents.ts'
import { parseHeartbeat } from './fleet-documents.ts'
import { keystore } from './keystore.ts'
import { readMembers } from './majority.ts'
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
  /**
   * `proven_at`: the database's time (`serverNow`) read *before* the proof was made, so that a proof never seems newer than
   * it is.
   */
  loaded: readonly { version: number; proven_at: Date; answers?: string | null }[]
  notLoaded?: readonly { version: number; reason: NotReadyReason; answers?: string | null }[]
  /** SHA-256 of the settings in this process's configuration file. */
  settings: Uint8Array | null
  /** Its name and version, as in a report: `keyturn 1.2.3, node 22.1.0`. */
  software?: string
  leaseMs: number
  expireMs: number
}

/**
 * Writes this process's document with the database's time. It uses `updateMany` for one document: an `updateOne` is a
 * retryable write, for which MongoDB stores one more record each time, and a failed heartbeat is repeated anyway.
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
          reports_uses: true,
          software: { $literal: beat.software ?? null },
          settings: beat.settings === null ? null : new Binary(beat.settings),
        },
      },
    ],
    { upsert: true },
  )
}

/**
 * All heartbeats, including expired ones that the TTL index has not deleted yet: check `at` or `lease_until`. One that
 * cannot be read is returned as `malformed`, by name.
 */
export async function readHeartbeats(
  store: Store,
  session?: ClientSession,
): Promise<HeartbeatDoc[]> {
  const found = keystore.heartbeats(store).find({}, { ...(session && { session }) })
  return (await found.sort({ _id: 1 }).toArray()).map(parseHeartbeat)
}

/** The heartbeats that have not expired; null while MongoDB confirms no writes, since live processes then look dead. */
export async function liveHeartbeats(store: Store): Promise<HeartbeatDoc[] | null> {
  const [heartbeats, now, { unconfirmedSince }] = await Promise.all([
    readHeartbeats(store),
    serverNow(store),
    readMembers(store),
  ])
  return unconfirmedSince === null ? heartbeats.filter(({ expires_at }) => expires_at > now) : null
}

/** No process sets an expiry further in the future, in milliseconds. */
const furthestExpiryMs = 24 * 3_600_000

/**
 * Sets an expiry on documents that the TTL index would never delete, because theirs is not a date or too far in the future.
 * A live process overwrites it with its next heartbeat.
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

/** Deletes the heartbeat at a clean stop. `id` is `<node>/<boot>`. */
export async function removeHeartbeat(store: Store, id: string): Promise<void> {
  await keystore.heartbeats(store).deleteOne({ _id: id })
}
