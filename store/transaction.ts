import { WriteConcern, type ClientSession, type TransactionOptions } from 'mongodb'
import { awaiting } from '../observability/awaiting.ts'
import { limits } from './limits.ts'
import { asStoreError } from './store-errors.ts'
import type { Store } from './store.ts'
import { wasUnsent } from './unsent.ts'

/** All reads see one snapshot; everything read or written is majority-committed once the commit has answered. */
export const transactionOptions: TransactionOptions = {
  readConcern: { level: 'snapshot' },
  writeConcern: new WriteConcern('majority', limits.majority),
  readPreference: 'primary',
  maxCommitTimeMS: limits.majority,
}

/**
 * Runs `body` in a transaction on a session of its own. The driver repeats `body` by itself, also after a freeze of this
 * process, so every filter that keeps late writers out must be among its statements, and it must not keep anything from an
 * earlier try. If it throws, or cannot commit for half a minute, nothing is written. A commit without an answer in time ends
 * as `mongodb-unreachable`, and may have succeeded.
 */
export async function inTransaction<T>(
  store: Store,
  body: (session: ClientSession) => Promise<T>,
): Promise<T> {
  const giveUpAt = performance.now() + limits.transaction
  let last: unknown = null
  const once = async (session: ClientSession) => {
    // An error of our own ends the driver's repeats.
    if (last !== null && performance.now() > giveUpAt) throw asStoreError(last)
    try {
      return await body(session)
    } catch (error) {
      last = error
      throw error
    }
  }
  const whole = () =>
    store.client.withSession((session) => session.withTransaction(once, transactionOptions))
  return await awaiting('mongodb: a transaction', async () => {
    for (;;) {
      try {
        return await whole()
      } catch (error) {
        // The commit was not sent; the driver repeats neither it nor the transaction.
        if (!wasUnsent(error) || performance.now() > giveUpAt) throw error
      }
    }
  })
}
