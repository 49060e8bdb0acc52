import { WriteConcern, type ClientSession, type TransactionOptions } from 'mongodb'
import type { Store } from './store.ts'

/** One point in time for all reads, and what was read or written is known to stay once the commit has answered. */
export const transactionOptions: TransactionOptions = {
  readConcern: { level: 'snapshot' },
  writeConcern: new WriteConcern('majority'),
  readPreference: 'primary',
}

/**
 * Runs `body` in a transaction on a session of its own. The driver repeats `body` by itself, also after a freeze of this
 * process, so every fence must be among its statements, and it must not keep anything from an earlier try. When it
 * throws, nothing is written.
 */
export async function inTransaction<T>(
  store: Store,
  body: (session: ClientSession) => Promise<T>,
): Promise<T> {
  return store.client.withSession(async (session) =>
    session.withTransaction(body, transactionOptions),
  )
}
