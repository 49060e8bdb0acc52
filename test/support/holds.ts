import type { Document } from 'mongodb'
import { collections } from '../../contracts/names.ts'
import type { RotationPhase } from '../../contracts/rotation.ts'
import { readRanges } from '../../store/rewrap-ranges.ts'
import { runningRotation } from '../../store/rotations.ts'
import type { Fleet } from './fleet.ts'
import { places } from './fleet-records.ts'

/** Holds a rotation in one of its phases, so that a test can interfere there. */
export interface Hold {
  /** Resolves when the rotation is held. */
  readonly reached: () => Promise<void>
  /** Repeating it does nothing. */
  readonly release: () => Promise<void>
}

/**
 * Holds promote: an open transaction of the test has written the documents that promote writes, so that each try of promote
 * has a conflict. The test never commits it. MongoDB aborts it after a minute.
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
        // The workflow does not exist before the first rotation has begun.
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
      if (session.inTransaction()) await session.abortTransaction()
      await session.endSession()
    },
  }
}

/**
 * Holds one range at a record: an open transaction of the test has written it, so that each try of its page has a conflict.
 * The other ranges end. Release it within a minute: MongoDB aborts the transaction then.
 */
export async function holdRecord(fleet: Fleet): Promise<Hold> {
  const [{ collection }] = places
  const records = fleet.store.db.collection(collection)
  const record = await records.findOne()
  if (record === null) throw new Error('no record')
  const session = fleet.store.client.startSession()
  session.startTransaction()
  await records.updateOne({ _id: record._id }, { $set: { held: true } }, { session })
  return {
    async reached() {
      await fleet.until('the other ranges do not end', async () => {
        const row = await runningRotation(fleet.store)
        const ranges = row === null ? [] : await readRanges(fleet.store, row._id)
        return ranges.length > 1 && ranges.filter(({ closed }) => !closed).length === 1
      })
    },
    async release() {
      if (session.inTransaction()) await session.abortTransaction()
      await session.endSession()
    },
  }
}

/** Holds verify until it times out: a fake heartbeat of an application that does not answer. */
export async function holdVerify(fleet: Fleet): Promise<Hold> {
  const heartbeats = fleet.store.db.collection<{ _id: string }>(collections.heartbeats)
  const _id = 'slow/held'
  const later = { $add: ['$$NOW', 60_000] }
  const slow = { node: 'slow', pid: 1, role: 'app', current: null, epoch: null, settings: null }
  const times = { started_at: '$$NOW', at: '$$NOW', lease_until: later, expires_at: later }
  await heartbeats.updateOne({ _id }, [{ $set: { ...slow, ...times, loaded: [] } }], {
    upsert: true,
  })
  return {
    reached: () => reachPhase(fleet, 'verify'),
    async release() {
      await heartbeats.deleteOne({ _id })
    },
  }
}

/** The next two hold nothing: sweep and settle last long enough by themselves. */
export function holdSweep(fleet: Fleet): Promise<Hold> {
  return Promise.resolve({ reached: () => fleet.rewrapped(20), release: () => Promise.resolve() })
}

export function holdSettle(fleet: Fleet): Promise<Hold> {
  return Promise.resolve({
    reached: () => reachPhase(fleet, 'settle'),
    release: () => Promise.resolve(),
  })
}

/** Gives the tail work: during settle, records are written back under the old version and swept slowly. */
export async function holdTail(fleet: Fleet): Promise<Hold> {
  const [{ collection }] = places
  const records = fleet.store.db.collection(collection)
  const old: Document[] = await records.find().limit(30).toArray()
  return {
    async reached() {
      await reachPhase(fleet, 'settle')
      await fleet.must('rate', '10')
      for (const record of old) await records.replaceOne({ _id: record['_id'] as never }, record)
      const tails = { closed: false, '_id.shard': /^[1-9]\d*-/ }
      await fleet.until('no tail is swept', async () => {
        return (await fleet.store.db.collection(collections.ranges).countDocuments(tails)) > 0
      })
    },
    release: () => Promise.resolve(),
  }
}

async function reachPhase(fleet: Fleet, phase: RotationPhase): Promise<void> {
  const isThere = async () => (await runningRotation(fleet.store))?.phase === phase
  await fleet.until(`the rotation does not get to ${phase}`, isThere, 60_000)
}
