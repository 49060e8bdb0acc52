import { BSON, type Document, type Filter } from 'mongodb'
import { collections } from '../../contracts/names.ts'
import type { RotationPhase } from '../../contracts/rotation.ts'
import { readRanges } from '../../store/rewrap-ranges.ts'
import type { RangeDoc } from '../../store/documents.ts'
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

/** Writes documents in an open transaction of the test, so that other writers have a conflict. Returns its release. */
async function lock(fleet: Fleet, locked: readonly Locked[]): Promise<Hold['release']> {
  const session = fleet.store.client.startSession()
  const release = async () => {
    if (session.inTransaction()) await session.abortTransaction()
    await session.endSession()
  }
  session.startTransaction()
  try {
    for (const { collection, filter } of locked) {
      const held = { $set: { held: true } }
      await fleet.store.db.collection(collection).updateOne(filter, held, { session })
    }
  } catch (error) {
    await release()
    throw error
  }
  return release
}

interface Locked {
  readonly collection: string
  readonly filter: Filter<Document>
}

/**
 * Holds promote: an open transaction of the test has written the documents that promote writes, so that each try of promote
 * has a conflict. The test never commits it. MongoDB aborts it after a minute.
 */
export async function holdPromote(fleet: Fleet): Promise<Hold> {
  const release = await lock(fleet, [{ collection: collections.active, filter: {} }])
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
    release,
  }
}

/**
 * Holds one range at a record: an open transaction of the test has written it, so that each try of its page has a conflict.
 * The other ranges end. Release it within a minute: MongoDB aborts the transaction then.
 */
export async function holdRecord(fleet: Fleet): Promise<Hold> {
  const [{ collection }] = places
  const record = await fleet.store.db.collection(collection).findOne()
  if (record === null) throw new Error('no record')
  const release = await lock(fleet, [{ collection, filter: { _id: record._id } }])
  return {
    async reached() {
      await fleet.until(
        'the other ranges do not end',
        async () => {
          const row = await runningRotation(fleet.store)
          const ranges = row === null ? [] : await readRanges(fleet.store, row._id)
          const [open, ...others] = ranges.filter(({ closed }) => !closed)
          // Before its first attempt no worker has the held one.
          return ranges.length > 1 && others.length === 0 && (open?.attempt ?? 0) > 0
        },
        120_000,
      )
    },
    release,
  }
}

/**
 * Holds every open range of a running sweep `ahead` records after its last one, or at its end: its pages in flight come to
 * rest there, wrapped and not written. `reached` resolves when all ranges are there. Release it within a minute.
 */
export async function holdRanges(fleet: Fleet, ahead: number): Promise<Hold> {
  const held = await fleet.until('the ranges move on all the time', async () => {
    const row = await runningRotation(fleet.store)
    const open = (row === null ? [] : await readRanges(fleet.store, row._id)).filter(
      ({ closed }) => !closed,
    )
    const targets = await Promise.all(open.map((range) => targetOf(fleet, range, ahead)))
    const locked = targets.map(({ collection, ids }) => {
      return { collection, filter: { _id: ids.at(-1) as never } }
    })
    // A page may be writing one of them.
    const release = await lock(fleet, locked).catch(() => null)
    return release === null ? null : { release, targets, rotation: row?._id ?? '' }
  })
  return {
    async reached() {
      await fleet.until('the ranges do not come to the held records', async () => {
        const ranges = await readRanges(fleet.store, held.rotation)
        const cursors = new Map(ranges.map((range) => [range._id.shard, keyOf(range.cursor?.v)]))
        return held.targets.every(({ range, ids }) => {
          return ids.length < 2 || cursors.get(range) === keyOf(ids.at(-2))
        })
      })
    },
    release: held.release,
  }
}

/** The next `ahead` records of a range, or as many as it has; the last one is to be held. */
async function targetOf(fleet: Fleet, range: RangeDoc, ahead: number) {
  const { collection, cursor, min, max } = range
  const sorted = fleet.store.db
    .collection(collection)
    .find({}, { promoteValues: false })
    .sort({ _id: 1 })
  const all = (await sorted.project({ _id: 1 }).toArray()).map(({ _id }) => _id as unknown)
  const place = (id: unknown) => all.findIndex((one) => keyOf(one) === keyOf(id))
  const begin = cursor === null ? (min === null ? 0 : place(min.v)) : place(cursor.v) + 1
  const end = max === null ? all.length : place(max.v)
  return { range: range._id.shard, collection, ids: all.slice(begin, Math.min(end, begin + ahead)) }
}

const keyOf = (id: unknown) => BSON.EJSON.stringify({ id })

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

/** Holds one range of the sweep; `reached` resolves when others have been swept a little. */
export async function holdSweep(fleet: Fleet): Promise<Hold> {
  const { release } = await holdRecord(fleet)
  return { reached: () => fleet.rewrapped(20), release }
}

/** Holds settle: after the switch, an application seems to be alive that has not seen it. */
export async function holdSettle(fleet: Fleet): Promise<Hold> {
  const sweep = await holdRecord(fleet)
  let late: Hold | null = null
  return {
    async reached() {
      await reachPhase(fleet, 'rewrap')
      late = await holdVerify(fleet)
      await sweep.release()
      await reachPhase(fleet, 'settle')
    },
    async release() {
      await sweep.release()
      await late?.release()
    },
  }
}

/** Holds the tail: during settle, records are written back under the old version, and the tail re-wraps one a second. */
export async function holdTail(fleet: Fleet): Promise<Hold> {
  const [{ collection }] = places
  const records = fleet.store.db.collection(collection)
  const old: Document[] = await records.find().limit(30).toArray()
  const settle = await holdSettle(fleet)
  return {
    async reached() {
      await settle.reached()
      await fleet.must('rate', '1')
      for (const record of old) await records.replaceOne({ _id: record['_id'] as never }, record)
      await settle.release()
      const tails = { closed: false, '_id.shard': /^[1-9]\d*-/ }
      await fleet.until('no tail is swept', async () => {
        return (await fleet.store.db.collection(collections.ranges).countDocuments(tails)) > 0
      })
    },
    release: settle.release,
  }
}

async function reachPhase(fleet: Fleet, phase: RotationPhase): Promise<void> {
  const isThere = async () => (await runningRotation(fleet.store))?.phase === phase
  await fleet.until(`the rotation does not get to ${phase}`, isThere, 60_000)
}
