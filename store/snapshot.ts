import type { ClientSession, ReadConcernLike } from 'mongodb'
import { setTimeout as pause } from 'node:timers/promises'
import { isElection } from './election.ts'
import { limits } from './limits.ts'
import { serverCode, serverCodes } from './store-errors.ts'
import type { Store } from './store.ts'

/** Options of a read at that moment; spread them into each statement's. Without a session: the latest that is known to stay. */
export interface Moment {
  session?: ClientSession
  readConcern: ReadConcernLike
}

/** How often a moment is given up for another, and the pause before it in milliseconds. */
const moments = 10
const pauseMs = 200

/**
 * Runs reads that all see the same moment, of what is known to stay (read concern snapshot, outside of a transaction:
 * they hold nothing). MongoDB keeps a moment for five minutes, and none while a collection is being made: the reads are
 * then repeated at another one, and so they are when an election cuts them off. Of a capped collection it keeps none at
 * all: then each read sees the latest, and `lostCollections` refuses what such counts would allow.
 */
export async function atOneMoment<T>(
  store: Store,
  read: (moment: Moment) => Promise<T>,
): Promise<T> {
  const began = performance.now()
  for (let tried = 1; ; tried += 1) {
    const session = store.client.startSession({ snapshot: true })
    try {
      // Named in each statement: the database's own read concern would take its place.
      return await read({ session, readConcern: { level: 'snapshot' } })
    } catch (error) {
      if (isOfCapped(error)) return await read({ readConcern: { level: 'majority' } })
      const code = serverCode(error)
      const gone = code === serverCodes.snapshotTooOld || code === serverCodes.snapshotUnavailable
      const isCut = isElection(error) && performance.now() - began < limits.election
      if (!isCut && (!gone || tried >= moments)) throw error
      await pause(pauseMs)
    } finally {
      await session.endSession()
    }
  }
}

/** The code is that of a moment that will come; only the words tell the two apart. */
function isOfCapped(error: unknown): boolean {
  if (serverCode(error) !== serverCodes.snapshotUnavailable) return false
  return error instanceof Error && /capped collection/i.test(error.message)
}
