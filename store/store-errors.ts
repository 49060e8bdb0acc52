import {
  MongoError,
  MongoNetworkError,
  MongoServerError,
  MongoServerSelectionError,
  MongoTopologyClosedError,
} from 'mongodb'
import { KeyturnError } from '../contracts/errors.ts'

/** Server error codes by name (https://www.mongodb.com/docs/manual/reference/error-codes/). */
export const serverCodes = {
  unauthorized: 13,
  authenticationFailed: 18,
  namespaceNotFound: 26,
  indexNotFound: 27,
  pathNotViable: 28,
  namespaceExists: 48,
  maxTimeExpired: 50,
  writeConflict: 112,
  documentValidationFailure: 121,
  cannotIndexParallelArrays: 171,
  transactionTooOld: 225,
  snapshotTooOld: 239,
  snapshotUnavailable: 246,
  noSuchTransaction: 251,
  atlasError: 8000,
  objectTooLarge: 10334,
  duplicateKey: 11000,
  interrupted: 11601,
  objectTooLargeAfterUpdate: 17419,
} as const

/** The server's error code, of a bulk write's first error too; null for anything that is not a server's answer. */
export function serverCode(error: unknown): number | null {
  return error instanceof MongoServerError && typeof error.code === 'number' ? error.code : null
}

export function isDuplicateKey(error: unknown): boolean {
  return serverCode(error) === serverCodes.duplicateKey
}

/** What a statement of a killed session is answered with. */
export function wasKilled(error: unknown): boolean {
  const code = serverCode(error)
  return (
    code === serverCodes.interrupted ||
    code === serverCodes.noSuchTransaction ||
    code === serverCodes.transactionTooOld
  )
}

/** Refused by access control: wrong user or password, or a role that lacks the action. */
export function isRefused(error: unknown): boolean {
  const code = serverCode(error)
  return (
    code === serverCodes.unauthorized ||
    code === serverCodes.authenticationFailed ||
    code === serverCodes.atlasError
  )
}

/**
 * The driver's error as the coded error that a caller can act on: `mongodb-unreachable` or `mongodb-refused`, with the
 * cause kept. Anything else comes back as it is.
 */
export function asStoreError(error: unknown, where = 'mongodb'): unknown {
  if (error instanceof KeyturnError) return error
  if (isRefused(rootCause(error))) {
    return new KeyturnError('mongodb-refused', `${where} refused: ${oneLine(error)}`, {
      hint: 'check the user, its password and its roles: readWrite on the database, and collMod for removal',
      cause: error,
    })
  }
  if (
    error instanceof MongoServerSelectionError ||
    error instanceof MongoNetworkError ||
    error instanceof MongoTopologyClosedError
  ) {
    return new KeyturnError(
      'mongodb-unreachable',
      `${where} cannot be reached: ${oneLine(error)}`,
      {
        hint: 'is it running, and is mongodb.uri (or KEYTURN_MONGODB_URI) right?',
        cause: error,
      },
    )
  }
  return error
}

/** A failed login surfaces as a server selection error with the server's answer inside. */
function rootCause(error: unknown): unknown {
  if (error instanceof MongoServerSelectionError && error.cause instanceof MongoError) {
    return error.cause
  }
  return error
}

function oneLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  return text.replace(/\s+/g, ' ').replace(/\.$/, '')
}
