import { MongoServerError, ObjectId, type ClientSession } from 'mongodb'
import { setTimeout as pause } from 'node:timers/promises'
import { clipped } from '../contracts/clipped.ts'
import { KeyturnError } from '../contracts/errors.ts'
import { reasonOf } from '../contracts/reasons.ts'
import type { PageStep, PageUpdate } from './page-step.ts'
import { WriteRefused, writeStep } from './page-statements.ts'
import { isRefused, isServerTrouble, wasKilled } from './server-errors.ts'
import { asStoreError } from './store-errors.ts'
import type { Store } from './store.ts'

/** A document is at fault if it fails alone this often with the same message. */
const sameTimes = 3
const pauseMs = 200
/** If this many fail in a row and none passes, the documents are not at fault. */
const mostWithoutPass = 8

/**
 * Finds the updates that make a page fail, by position and with the message: halves the page down to single documents, in
 * transactions that are never committed. Null if no document is at fault: an unrelated statement fails too, or no update
 * passes. Throws temporary errors: network, election, lease.
 */
export async function culpritsOf(
  store: Store,
  session: ClientSession,
  step: PageStep,
): Promise<ReadonlyMap<number, string> | null> {
  const found = new Map<number, string>()
  let passed = 0
  const isHopeless = () => passed === 0 && found.size >= mostWithoutPass
  const attempt = (updates: readonly PageUpdate[]) => tryWithout(store, session, step, updates)
  const search = async (at: number, updates: readonly PageUpdate[]): Promise<void> => {
    if (isHopeless()) return
    const reason = await attempt(updates)
    if (reason === null) passed += updates.length
    if (reason === null) return
    if (updates.length > 1) {
      const middle = Math.ceil(updates.length / 2)
      await search(at, updates.slice(0, middle))
      await search(at + middle, updates.slice(middle))
      return
    }
    for (let again = 1; again < sameTimes; again += 1) {
      await pause(pauseMs)
      if ((await attempt(updates)) !== reason) return
    }
    found.set(at, reason)
  }
  const [first] = step.updates
  // The same statement for a record that does not exist: if it fails too, no document is at fault.
  if (first === undefined || (await attempt([{ ...first, id: new ObjectId() }])) !== null)
    return null
  await search(0, step.updates)
  const isTheirs = found.size > 0 && (passed > 0 || step.updates.length === 1)
  return isTheirs ? found : null
}

/** The error of the page's transaction with only these updates; null if it could commit. It is always aborted. */
async function tryWithout(
  store: Store,
  session: ClientSession,
  step: PageStep,
  updates: readonly PageUpdate[],
): Promise<string | null> {
  try {
    await writeStep(store, session, { ...step, updates, quarantine: [], closes: false })
    return null
  } catch (error) {
    if (mayPass(error)) throw error
    return `(${clipped(reasonOf(error instanceof WriteRefused ? error.cause : error), 200)})`
  } finally {
    if (session.inTransaction()) await session.abortTransaction().catch(() => undefined)
  }
}

/** Whether an error is unrelated to a document: our own, network, election, a missing role, a full disk. */
export function mayPass(error: unknown): boolean {
  if (error instanceof KeyturnError || isRefused(error) || wasKilled(error)) return true
  if (error instanceof MongoServerError) {
    const known = asStoreError(error)
    const isAway = known instanceof KeyturnError && known.code === 'mongodb-unreachable'
    const hasLabel = error.errorLabels.length > 0
    return isAway || hasLabel || isServerTrouble(error)
  }
  return asStoreError(error) !== error
}
