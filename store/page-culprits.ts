import { MongoServerError, ObjectId, type ClientSession } from 'mongodb'
import { setTimeout as pause } from 'node:timers/promises'
import { clipped } from '../contracts/clipped.ts'
import { KeyturnError } from '../contracts/errors.ts'
import { reasonOf } from '../contracts/reasons.ts'
import type { PageStep, PageUpdate } from './page-step.ts'
import { WriteRefused, writeStep } from './page-statements.ts'
import { asStoreError, isRefused, serverCode, serverCodes, wasKilled } from './store-errors.ts'
import type { Store } from './store.ts'

/** A document is at fault when it alone fails this often in the same words. */
const sameTimes = 3
const pauseMs = 200
/** So many in a row that fail, and none that passes: the fault is not theirs. */
const mostWithoutPass = 8

/** Faults of the server or the way to it, whichever document meets them. */
const general: ReadonlySet<number> = new Set([
  serverCodes.outOfDiskSpace,
  serverCodes.atlasError,
  serverCodes.lockTimeout,
  serverCodes.snapshotTooOld,
  serverCodes.snapshotUnavailable,
  serverCodes.shutdownInProgress,
  serverCodes.interruptedAtShutdown,
])

/**
 * Which updates of a page that failed are the reason, by their positions, each with what it says: the page is halved down
 * to single documents, in transactions that are never committed. Null when it is nobody's own fault: another one than
 * theirs fails as well, or nobody passes. Throws what may pass by itself: network, election, lease.
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
  // The same statement about a record that is not there: where it fails too, no document is to blame.
  if (first === undefined || (await attempt([{ ...first, id: new ObjectId() }])) !== null)
    return null
  await search(0, step.updates)
  const isTheirs = found.size > 0 && (passed > 0 || step.updates.length === 1)
  return isTheirs ? found : null
}

/** What the page's transaction says with only these updates; null when it could be committed. It never is. */
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

/** Whether an error says nothing about a document: our own, of the network, an election, a role, a full disk. */
export function mayPass(error: unknown): boolean {
  if (error instanceof KeyturnError || isRefused(error) || wasKilled(error)) return true
  if (error instanceof MongoServerError) {
    const known = asStoreError(error)
    const isAway = known instanceof KeyturnError && known.code === 'mongodb-unreachable'
    const hasLabel = error.errorLabels.length > 0
    return isAway || hasLabel || general.has(serverCode(error) ?? 0)
  }
  return asStoreError(error) !== error
}
