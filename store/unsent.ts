import { MongoErrorLabel, MongoNetworkError } from 'mongodb'

/**
 * A member that shuts down closes its connections, and Node.js refuses to write to them. The driver passes that error through
 * without a wrapper or a label. Here it becomes a network error that says that the statement was not sent: the statement,
 * and its transaction, may be repeated.
 */
export async function sent<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (error) {
    throw wasUnsent(error) ? unsent(error) : error
  }
}

/** Node.js's own error has a code, and no system call that failed. */
export function wasUnsent(error: unknown): error is Error {
  if (!(error instanceof Error)) return false
  const { code, syscall } = error as { code?: unknown; syscall?: unknown }
  return code === 'EPIPE' && syscall === undefined
}

function unsent(cause: Error): MongoNetworkError {
  const error = new MongoNetworkError(cause.message, { cause })
  error.addErrorLabel(MongoErrorLabel.NoWritesPerformed)
  error.addErrorLabel(MongoErrorLabel.TransientTransactionError)
  return error
}
