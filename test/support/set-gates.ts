import type { Document } from 'mongodb'
import { collections } from '../../contracts/names.ts'
import type { Member, ReplicaSet } from '../../devstack/replica-set.ts'
import { readActive } from '../../store/kek-active.ts'
import type { Fleet } from './fleet.ts'
import { holdVerify } from './holds.ts'

/** What holds Keyturn while a fault of the replica set is prepared. */
export interface Gate {
  /** Lets go what the fault could not: a lock. A late process stays late. */
  release(): Promise<void>
  /** What Keyturn's next write changes, as this one member has it. */
  readOn(member: Member): Promise<string>
  /** Repeating it does nothing. */
  end(): Promise<void>
}

/** The first document that the filter matches, as this one member has it: also if no majority does. */
export async function localDocument(
  set: ReplicaSet,
  fleet: Fleet,
  member: Member,
  query: { collection: string; filter: Document },
): Promise<Document | null> {
  const { collection: find, filter } = query
  const command = { find, filter, limit: 1, readConcern: { level: 'local' } }
  const answer = await set.command(member, command, fleet.install)
  return (answer as { cursor: { firstBatch: Document[] } }).cursor.firstBatch[0] ?? null
}

/**
 * An open transaction of the test has written this document, so Keyturn's write to it waits or is repeated. The transaction is
 * never committed: the test aborts it, or the primary does when its term ends.
 */
export async function lockDocument(
  set: ReplicaSet,
  fleet: Fleet,
  collection: string,
  filter: { _id: unknown },
): Promise<Gate> {
  const session = fleet.store.client.startSession()
  session.startTransaction()
  await fleet.store.db
    .collection(collection)
    .updateOne(filter as Document, { $set: { held: true } }, { session, upsert: true })
  const release = async () => {
    // With the old primary, the transaction is gone too.
    if (session.inTransaction()) await session.abortTransaction().catch(() => undefined)
    await session.endSession()
  }
  return { release, end: release, readOn: documentOn(set, fleet, { collection, filter }) }
}

/** A process of the fleet that has not seen the switch: settle waits until it catches up, for a minute at most. */
export async function lateProcess(
  set: ReplicaSet,
  fleet: Fleet,
): Promise<Gate & { catchUp(): Promise<void> }> {
  const hold = await holdVerify(fleet)
  const query = { collection: collections.heartbeats, filter: { role: 'worker' } }
  return {
    release: () => Promise.resolve(),
    end: () => hold.release(),
    readOn: documentOn(set, fleet, query),
    async catchUp() {
      const epoch = (await readActive(fleet.store))?.epoch ?? 0
      await fleet.store.db
        .collection(collections.heartbeats)
        .updateOne({ node: 'slow' }, { $set: { epoch } })
    },
  }
}

/** Not held: something slow that goes on by itself, such as a sweep with a low rate. */
export function running(readOn: Gate['readOn']): Gate {
  const nothing = () => Promise.resolve()
  return { release: nothing, end: nothing, readOn }
}

/** A document as a member has it. */
export function documentOn(
  set: ReplicaSet,
  fleet: Fleet,
  query: { collection: string; filter: Document },
): Gate['readOn'] {
  return async (member) => JSON.stringify(await localDocument(set, fleet, member, query))
}

/** How many re-wrapped envelopes a member counts. */
export function pagesOn(set: ReplicaSet, fleet: Fleet): Gate['readOn'] {
  const pipeline = [{ $group: { _id: null, total: { $sum: '$counters.rewrapped' } } }]
  return async (member) => {
    const command = { aggregate: collections.ranges, pipeline, cursor: {} }
    const answer = await set.command(member, command, fleet.install)
    const [sum] = (answer as { cursor: { firstBatch: { total: number }[] } }).cursor.firstBatch
    return `${sum?.total ?? 0}`
  }
}
