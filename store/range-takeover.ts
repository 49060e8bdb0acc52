import type { ClientSession, Filter } from 'mongodb'
import type { Bound, RangeDoc, RangeId } from './documents.ts'
import { keystore } from './keystore.ts'
import { readRangeDoc } from './range-documents.ts'
import { rangesGone, readRange } from './rewrap-ranges.ts'
import { isHeldDocument } from './server-errors.ts'
import { endSession, killSession, openSession } from './sessions.ts'
import type { Store } from './store.ts'

/**
 * Range documents keep replaced workers out: a page is written only if its attempt number is the document's (see
 * page-transaction.ts). A frozen worker may hold the document in an open transaction, so a takeover kills that session
 * first, tries to raise the number for one second, and repeats both until the raise succeeds.
 */

/** How long one try to raise the attempt waits for a transaction that holds the document, in milliseconds. */
const raiseMs = 1_000

export interface TakenRange {
  attempt: number
  cursor: Bound | null
  /** For this attempt's page transactions only. The caller ends it with `endSession` of sessions.ts. */
  session: ClientSession
  /** The document after the raise. */
  doc: RangeDoc
}

/**
 * Takes a range over for a new attempt: from then on nothing of an older one is written. Null if the range is closed; throws
 * `no-rotation` if there is none. Waits for an open transaction of the old attempt without limit, or until `signal`.
 */
export async function takeRange(
  store: Store,
  id: RangeId,
  signal?: AbortSignal,
): Promise<TakenRange | null> {
  for (;;) {
    signal?.throwIfAborted()
    const before = await readRange(store, id)
    if (before === null) throw rangesGone(id.rotation)
    if (before.closed) return null
    const { session, lsid } = openSession(store)
    const raised = await raise(store, before, { session: lsid }).catch(async (error: unknown) => {
      await endSession(session)
      throw error
    })
    if (raised) {
      // If another attempt has raised it since, the first page of this one notices.
      const doc = await readRange(store, id)
      if (doc?.closed === false) {
        return { attempt: before.attempt + 1, cursor: doc.cursor, session, doc }
      }
    }
    await endSession(session)
  }
}

/**
 * Closes the open ranges of one rotation, or of all, for good, by the same raise as a takeover: no page that is in flight,
 * frozen or late is written afterwards. A named rotation cannot insert new ranges. Returns how many were open.
 */
export async function closeRanges(
  store: Store,
  filter: 'all' | { rotation: string },
): Promise<number> {
  if (filter !== 'all') {
    await keystore
      .rotations(store)
      .updateOne({ _id: filter.rotation }, { $set: { shards_closed: true } })
  }
  return closeThese(store, filter === 'all' ? {} : { '_id.rotation': filter.rotation })
}

/**
 * Closes ranges that could write a version in removal: those of all rotations that have ended or name the version. A running
 * rotation between two other versions keeps its ranges. Returns how many were open.
 */
export async function closeIdleRanges(store: Store, version: number): Promise<number> {
  const others = await keystore
    .rotations(store)
    .find({ ended_at: null, from: { $ne: version }, to: { $ne: version } })
    .toArray()
  return closeThese(store, { '_id.rotation': { $nin: others.map(({ _id }) => _id) } })
}

async function closeThese(store: Store, these: Filter<RangeDoc>): Promise<number> {
  let closed = 0
  for (;;) {
    const open = await keystore
      .ranges(store)
      .find<Buffer>({ ...these, closed: { $ne: true } }, { raw: true })
      .toArray()
    if (open.length === 0) return closed
    for (const document of open) {
      const range = readRangeDoc(document)
      const isClosed = 'member' in range ? shut(store, range.id) : raise(store, range, closing)
      if (await isClosed) closed += 1
    }
  }
}

const closing = { closed: true }

/** Closes a malformed range, so that no page of it is written and the end of a rotation does not wait for its repair. */
async function shut(store: Store, id: unknown): Promise<boolean> {
  return unlessHeld(async () => {
    const { matchedCount } = await keystore
      .ranges(store)
      .updateOne({ _id: { $eq: id as RangeDoc['_id'] } }, { $set: closing }, { maxTimeMS: raiseMs })
    return matchedCount === 1
  })
}

/**
 * Kills the session of the attempt that was read and raises its number. False if another attempt was first, or if the
 * document is still held: read it again and repeat.
 */
async function raise(
  store: Store,
  seen: RangeDoc,
  fields: Partial<Pick<RangeDoc, 'session' | 'closed'>>,
): Promise<boolean> {
  if (seen.session !== null) await killSession(store, seen.session)
  return unlessHeld(async () => {
    const { matchedCount } = await keystore
      .ranges(store)
      .updateOne(
        { _id: seen._id, attempt: seen.attempt, closed: false },
        { $set: fields, $inc: { attempt: 1 } },
        { maxTimeMS: raiseMs },
      )
    return matchedCount === 1
  })
}

/** Also false if an open transaction holds the document. */
async function unlessHeld(write: () => Promise<boolean>): Promise<boolean> {
  try {
    return await write()
  } catch (error) {
    if (isHeldDocument(error)) return false
    throw error
  }
}
