import { MongoErrorLabel, MongoNetworkError } from 'mongodb'

/**
 * A member that ends has closed its connections, and Node.js refuses to write on one of those. The driver lets that error
 * through as it is, neither wrapped nor labelled. Here it becomes one of the network that says the statement was not sent:
 * it, and a transaction it belongs to, may be repeated.
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
