import { WriteConcern, type Timestamp } from 'mongodb'
import { setTimeout as pause } from 'node:timers/promises'
import { KeyturnError } from '../contracts/errors.ts'
import { keystore } from './keystore.ts'
import { limits } from './limits.ts'
import { asStoreError } from './store-errors.ts'
import { hints } from './store-hints.ts'
import type { Store } from './store.ts'

/**
 * Whether a majority of the replica set confirms writes. In a set of a primary, a secondary and an arbiter it does not once
 * the secondary is down, although the primary answers: every majority write then waits.
 */

export interface SetMembers {
  /** Number of data-bearing members; null behind a mongos, which does not report it. */
  data: number | null
  arbiters: number
  /** Since when no write is confirmed, by the primary's clock; null while writes are. */
  unconfirmedSince: Date | null
}

/** A majority that lags longer than this is not just replication delay, in milliseconds. */
const lateMs = 5_000
/** Pause between two looks, in milliseconds; a replication delay is over by then. */
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

/** Asks the primary about its set, which any user may do. `signal` aborts it. */
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
 * Throws `mongodb-unreachable` if the primary does not answer within two seconds, or if a majority has confirmed no write for
 * some seconds. Other errors of the driver pass through.
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

/** Throws `mongodb-unreachable` if a majority has confirmed no write for some seconds. */
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
 * Makes one write that a majority must confirm within five seconds; throws `mongodb-unreachable` if it does not. With `trace`
 * it writes a document into the settings; without, it changes nothing and waits for earlier writes.
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
  // The first write after an idle time looks unconfirmed for a moment.
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
