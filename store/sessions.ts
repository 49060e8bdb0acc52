import type { Binary, ClientSession } from 'mongodb'
import { collections } from '../contracts/names.ts'
import { isTransactionGone, isUnauthorized } from './server-errors.ts'
import type { Store } from './store.ts'
import { transactionOptions } from './transaction.ts'

/** Logical session id, as it is sent with each statement. */
export interface Lsid {
  id: Binary
}

/**
 * A separate session for one attempt at a range, with a new lsid that no other statement of this process uses, because a
 * takeover kills it.
 */
export function openSession(store: Store): { session: ClientSession; lsid: Lsid } {
  const session = store.client.startSession({ defaultTransactionOptions: transactionOptions })
  const lsid = session.id
  if (lsid === undefined) throw new Error('an explicit session has no id')
  return { session, lsid: { id: lsid.id } }
}

/** Ends an attempt's session and aborts its open transaction. It does not return to the driver's pool. Never throws. */
export async function endSession(session: ClientSession): Promise<void> {
  // The pool reuses sessions that are not dirty; a late kill would then hit an unrelated statement.
  const server = (session as unknown as { serverSession?: { isDirty: boolean } }).serverSession
  if (server !== undefined) server.isDirty = true
  await session.endSession()
}

/**
 * Kills a server session and the transaction that it has open. It returns ok and does nothing for a session that
 * is unknown or belongs to another user, and a killed lsid can start again: this frees locks, it does not keep a worker out.
 */
export async function killSession(store: Store, lsid: Lsid): Promise<void> {
  await store.db.command({ killSessions: [{ id: lsid.id }] })
}

/** For doctor: whether this user can kill a transaction of its own. It only reads. */
export async function proveKillSessions(store: Store): Promise<boolean> {
  const { session, lsid } = openSession(store)
  try {
    session.startTransaction()
    const install = store.db.collection(collections.install)
    await install.findOne({}, { session })
    await killSession(store, lsid)
    await install.findOne({}, { session })
    return false
  } catch (error) {
    if (isTransactionGone(error)) return true
    if (isUnauthorized(error)) return false
    throw error
  } finally {
    await endSession(session)
  }
}
