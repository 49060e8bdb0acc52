import { collections } from '../../contracts/names.ts'
import type { Fleet } from './fleet.ts'

/** A rotation is held in one of its phases, so that a test has the time to do its harm there. */
export interface Hold {
  /** Resolves when the rotation is held. */
  reached(): Promise<void>
  release(): Promise<void>
}

/**
 * Holds promote: a transaction of the test has written what promote's transaction writes, so that each try of it meets a
 * conflict. Nothing of the test's is ever committed. MongoDB ends it by itself after a minute.
 */
export async function holdPromote(fleet: Fleet): Promise<Hold> {
  const session = fleet.store.client.startSession()
  session.startTransaction()
  await fleet.store.db
    .collection(collections.active)
    .updateOne({}, { $set: { held: true } }, { session })
  return {
    async reached() {
      await fleet.until('promote does not begin', async () => {
        // Not there at all before the first rotation has begun.
        const described = await fleet
          .rotateWorkflow()
          .describe()
          .catch(() => null)
        return (described?.raw.pendingActivities ?? []).some(
          ({ activityType, attempt }) => activityType?.name === 'promote' && (attempt ?? 0) > 0,
        )
      })
    },
    async release() {
      await session.abortTransaction()
      await session.endSession()
    },
  }
}
