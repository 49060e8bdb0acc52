import type { ClientSession, ReadConcernLike } from 'mongodb'
import { setTimeout as pause } from 'node:timers/promises'
import { limits } from './limits.ts'
import { isElection, isSnapshotLost, isSnapshotOfCapped } from './server-errors.ts'
import type { Store } from './store.ts'

/** Options of a read in a snapshot; spread them into each statement's. Without a session: the latest majority-committed state. */
export interface SnapshotOptions {
  session?: ClientSession
  readConcern: ReadConcernLike
}

/** Maximum retries with a new snapshot, and the pause before each in milliseconds. */
const mostSnapshots = 10
const pauseMs = 200

/**
 * Runs reads that all see the same majority-committed snapshot (read concern `snapshot`, outside a transaction, so they hold
 * no locks). MongoDB keeps a snapshot for five minutes, and none while a collection is being created: the reads are then
 * repeated with another one, and also after an election. Capped collections have no snapshots: each read then sees the
 * latest state, and `lostCollections` refuses what such counts would allow.
 */
export async function inOneSnapshot<T>(
  store: Store,
  read: (snapshot: SnapshotOptions) => Promise<T>,
): Promise<T> {
  const began = performance.now()
  for (let tried = 1; ; tried += 1) {
    const session = store.client.startSession({ snapshot: true })
    try {
      // Given with each statement, or the database's own read concern would replace it.
      return await read({ session, readConcern: { level: 'snapshot' } })
    } catch (error) {
      if (isSnapshotOfCapped(error)) return await read({ readConcern: { level: 'majority' } })
      const isCut = isElection(error) && performance.now() - began < limits.election
      if (!isCut && (!isSnapshotLost(error) || tried >= mostSnapshots)) throw error
      await pause(pauseMs)
    } finally {
      await session.endSession()
    }
  }
}
