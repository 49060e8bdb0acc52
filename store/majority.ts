import { WriteConcern, type Timestamp } from 'mongodb'
import { setTimeout as pause } from 'node:timers/promises'
import { KeyturnError } from '../contracts/errors.ts'
import { keystore } from './keystore.ts'
import { limits } from './limits.ts'
import { asStoreError } from './store-errors.ts'
import { hints } from './store-hints.ts'
import type { Store } from './store.ts'

/**
 * Whether a majority of the replica set confirms what is written. With a primary, a secondary and an arbiter it does not
 * as soon as the secondary is down, although there is a primary that answers: every decisive write then waits.
 */

export interface SetMembers {
  /** How many hold data; null behind a mongos, which does not tell. */
  data: number | null
  arbiters: number
  /** Since when nothing is confirmed, by the primary's clock; null while writes are. */
  unconfirmedSince: Date | null
}

/** What the majority is behind for so long is not just on its way, in milliseconds. */
const lateMs = 5_000
/** Between two looks: what is on its way has arrived then, in milliseconds. */
const lookAgainMs = 500

interface Hello {
  hosts?: string[]
  passives?: string[]
  arbiters?: string[]
  localTime: Date
  lastWrite?: {
    opTime: { ts: Timestamp }
    majorityOpTime: { ts: Timestamp }
    majorityWriteDate: Date
  }
}

/** Asks the primary what it knows of its set; any user may. `signal` ends a question without an answer. */
export async function readMembers(store: Store, signal?: AbortSignal): Promise<SetMembers> {
  const first = await hello(store, signal)
  const { hosts = [], passives = [], arbiters = [], lastWrite } = first
  if (lastWrite === undefined) return { data: null, arbiters: 0, unconfirmedSince: null }
  return {
    data: hosts.length + passives.length,
    arbiters: arbiters.length,
    unconfirmedSince: await standsStill(store, first, signal),
  }
}

/**
 * Throws `mongodb-unreachable` when the primary does not answer within two seconds, or no write was confirmed by a majority
 * for some; other errors as the driver has them.
 */
export async function requireAnswer(store: Store): Promise<void> {
  const signal = AbortSignal.timeout(limits.answer)
  try {
    await requireMajority(store, signal)
  } catch (cause) {
    if (!signal.aborted) throw asStoreError(cause)
    throw new KeyturnError(
      'mongodb-unreachable',
      `mongodb has not answered for ${limits.answer} ms`,
      { cause },
    )
  }
}

/** Throws `mongodb-unreachable` when no write has been confirmed by a majority for some seconds. */
export async function requireMajority(store: Store, signal?: AbortSignal): Promise<void> {
  const { unconfirmedSince } = await readMembers(store, signal)
  if (unconfirmedSince !== null) throw unconfirmed(unconfirmedSince)
}

export function unconfirmed(since: Date): KeyturnError {
  return new KeyturnError(
    'mongodb-unreachable',
    `mongodb has confirmed no write by a majority of its members since ${since.toISOString()}`,
    { hint: hints.majority },
  )
}

/**
 * One write that a majority has to confirm within five seconds; throws `mongodb-unreachable` when it does not. `trace`
 * leaves a document for it in the settings; without, it changes nothing and waits for what was written before.
 */
export async function proveMajority(store: Store, trace: boolean): Promise<void> {
  try {
    await keystore
      .settings(store)
      .updateOne({ _id: 'majority-probe' } as object, [{ $set: { at: '$$NOW' } }], {
        upsert: trace,
        writeConcern: new WriteConcern('majority', limits.connect),
      })
  } catch (error) {
    throw asStoreError(error)
  }
}

async function standsStill(store: Store, first: Hello, signal?: AbortSignal): Promise<Date | null> {
  if (!isLate(first)) return null
  // The first write after a quiet time looks the same for a moment.
  await pause(lookAgainMs, undefined, { signal })
  const second = await hello(store, signal)
  const before = first.lastWrite?.majorityOpTime.ts
  const isMoving =
    before === undefined || second.lastWrite?.majorityOpTime.ts.equals(before) !== true
  return isMoving ? null : (second.lastWrite?.majorityWriteDate ?? null)
}

function isLate({ lastWrite, localTime }: Hello): boolean {
  if (lastWrite === undefined) return false
  const isBehind = lastWrite.opTime.ts.greaterThan(lastWrite.majorityOpTime.ts)
  return isBehind && localTime.getTime() - lastWrite.majorityWriteDate.getTime() > lateMs
}

async function hello(store: Store, signal?: AbortSignal): Promise<Hello> {
  return (await store.db.command({ hello: 1 }, signal === undefined ? {} : { signal })) as Hello
}
