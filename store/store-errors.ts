import {
  MongoClientClosedError,
  MongoError,
  MongoMissingDependencyError,
  MongoNetworkError,
  MongoNotConnectedError,
  MongoServerError,
  MongoServerSelectionError,
  MongoTopologyClosedError,
  MongoWriteConcernError,
} from 'mongodb'
import { KeyturnError, type ErrorCode } from '../contracts/errors.ts'
import { innermost, isSystemError, reasonOf } from '../contracts/reasons.ts'
import { listed, refusedAddress } from './mongodb-address.ts'
import { hints, searchHint, statementHint } from './store-hints.ts'
import { toldSearch } from './server-search.ts'

/** Server error codes by name (https://www.mongodb.com/docs/manual/reference/error-codes/). */
export const serverCodes = {
  hostUnreachable: 6,
  hostNotFound: 7,
  userNotFound: 11,
  unauthorized: 13,
  authenticationFailed: 18,
  namespaceNotFound: 26,
  lockTimeout: 24,
  indexNotFound: 27,
  pathNotViable: 28,
  namespaceExists: 48,
  maxTimeExpired: 50,
  writeConcernFailed: 64,
  cannotCreateIndex: 67,
  unknownReplWriteConcern: 79,
  indexOptionsConflict: 85,
  indexKeySpecsConflict: 86,
  networkTimeout: 89,
  shutdownInProgress: 91,
  primarySteppedDown: 189,
  writeConflict: 112,
  documentValidationFailure: 121,
  commandNotSupportedOnView: 166,
  cannotIndexParallelArrays: 171,
  transactionTooOld: 225,
  snapshotTooOld: 239,
  snapshotUnavailable: 246,
  noSuchTransaction: 251,
  exceededTimeLimit: 262,
  mechanismUnavailable: 334,
  atlasError: 8000,
  socketException: 9001,
  notWritablePrimary: 10107,
  objectTooLarge: 10334,
  duplicateKey: 11000,
  interruptedAtShutdown: 11600,
  interrupted: 11601,
  interruptedByStateChange: 11602,
  notPrimaryNoSecondaryOk: 13435,
  notPrimaryOrSecondary: 13436,
  outOfDiskSpace: 14031,
  objectTooLargeAfterUpdate: 17419,
} as const

/** Unreachable or timed out: the same statement may succeed later. A change of primary is tested separately. */
const passingCodes: ReadonlySet<number> = new Set([
  serverCodes.hostUnreachable,
  serverCodes.hostNotFound,
  serverCodes.maxTimeExpired,
  serverCodes.writeConcernFailed,
  serverCodes.networkTimeout,
  serverCodes.writeConflict,
  serverCodes.exceededTimeLimit,
  serverCodes.socketException,
])

/** The server's error code, also of a bulk write's first error; null if the error is not from the server. */
export function serverCode(error: unknown): number | null {
  return error instanceof MongoServerError && typeof error.code === 'number' ? error.code : null
}

export function isDuplicateKey(error: unknown): boolean {
  return serverCode(error) === serverCodes.duplicateKey
}

/** The index that a statement names is not there, or its key means several. Such an answer has code 2 (BadValue) or 17007, and these words. */
export function isBadHint(error: unknown): boolean {
  const text = error instanceof Error ? error.message : ''
  return /hint provided does not correspond|planner returned error: bad hint|hint matched multiple indexes/i.test(
    text,
  )
}

/** Errors of a statement in a killed session. */
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
  return code === serverCodes.unauthorized || isLoginRefused(error)
}

function isLoginRefused(error: unknown): boolean {
  const code = serverCode(error)
  return (
    code === serverCodes.userNotFound ||
    code === serverCodes.authenticationFailed ||
    code === serverCodes.mechanismUnavailable ||
    code === serverCodes.atlasError
  )
}

/**
 * The driver's error as the coded error that a caller can act on, with its innermost cause in the message: temporary errors
 * are `mongodb-unreachable`, refusals of the server `mongodb-refused`, unusable options of the address `config-invalid`.
 * Other errors are returned unchanged.
 */
export function asStoreError(error: unknown, where = 'mongodb'): unknown {
  if (!(error instanceof MongoError)) return error
  const told = (code: ErrorCode, text: string, hint: string) =>
    new KeyturnError(code, text, { hint, cause: error })

  const inside = serverAnswer(error)
  if (isRefused(inside)) {
    const hint = isLoginRefused(inside) ? hints.login : hints.roles
    return told('mongodb-refused', `${where} refused: ${reasonOf(inside)}`, hint)
  }
  if (error instanceof MongoMissingDependencyError) {
    return told(
      'config-invalid',
      `${where} cannot be used: ${reasonOf(new Error(error.message))}`,
      hints.missing,
    )
  }
  if (error instanceof MongoServerSelectionError) {
    const search = toldSearch(error)
    return told('mongodb-unreachable', `${where} cannot be reached: ${search}`, searchHint(search))
  }
  if (isUnconfirmed(error)) {
    const text = `${where} has not confirmed a write by a majority of its members: ${reasonOf(error)}`
    return told('mongodb-unreachable', text, hints.majority)
  }
  if (serverCode(error) === serverCodes.maxTimeExpired) {
    return told('mongodb-unreachable', `${where} took too long: ${reasonOf(error)}`, hints.slow)
  }
  if (isPassing(error)) {
    const reason = reasonOf(innermost(error))
    return told('mongodb-unreachable', `${where} cannot be reached: ${reason}`, searchHint(reason))
  }
  if (error instanceof MongoServerError) return refusedStatement(error, where, told)
  return error
}

/** The primary wrote it, but the other members did not confirm in time; it may persist. */
function isUnconfirmed(error: MongoError): boolean {
  const code = serverCode(error)
  return (
    code === serverCodes.writeConcernFailed ||
    (error instanceof MongoWriteConcernError && code === serverCodes.maxTimeExpired)
  )
}

/** Refused before execution: the member is not the primary. */
export function isNotPrimary(error: unknown): boolean {
  const code = serverCode(error)
  return (
    code === serverCodes.notWritablePrimary ||
    code === serverCodes.notPrimaryNoSecondaryOk ||
    code === serverCodes.notPrimaryOrSecondary
  )
}

/** Refused, or interrupted and perhaps executed, because the primary is changing. */
export function isChangeOfPrimary(error: unknown): boolean {
  const code = serverCode(error)
  return (
    isNotPrimary(error) ||
    code === serverCodes.interruptedAtShutdown ||
    code === serverCodes.interruptedByStateChange ||
    code === serverCodes.primarySteppedDown ||
    code === serverCodes.shutdownInProgress
  )
}

/**
 * Error of a client that is being opened: like `asStoreError`, but errors about the address and its files are
 * `config-invalid`, because no statement was sent yet.
 */
export function asOpeningError(error: unknown, where: string): unknown {
  const known = asStoreError(error, where)
  if (known instanceof KeyturnError) return known
  if (isSystemError(error) && error.syscall?.startsWith('query') === true)
    return unknownName(error, where)
  if (error instanceof MongoError || isSystemError(error)) {
    return refusedAddress(reasonOf(error), listed, error)
  }
  return error
}

/** The DNS has no SRV (or TXT) record of the name in mongodb+srv://. */
function unknownName(error: Error, where: string): KeyturnError {
  return new KeyturnError('mongodb-unreachable', `${where} cannot be reached: ${reasonOf(error)}`, {
    hint: 'mongodb+srv:// needs an SRV record of that name in the DNS of this host; a plain host is written as mongodb://host:port/',
    cause: error,
  })
}

type Tell = (code: ErrorCode, text: string, hint: string) => KeyturnError

/** A refusal by the server. If it does not understand a statement, its version is too old. */
function refusedStatement(error: MongoServerError, where: string, told: Tell): KeyturnError {
  const { codeName } = error
  const name = typeof codeName === 'string' ? ` (${codeName})` : ''
  const hint = statementHint(serverCode(error))
  return told('mongodb-refused', `${where} refused: ${reasonOf(error)}${name}`, hint)
}

/**
 * The connection to the primary is cut, or the primary is changing: the same statement may succeed later. The labels are the
 * driver's (transactions and retryable writes specifications).
 */
function isPassing(error: MongoError): boolean {
  return (
    error instanceof MongoNetworkError ||
    error instanceof MongoTopologyClosedError ||
    error instanceof MongoNotConnectedError ||
    error instanceof MongoClientClosedError ||
    /^MongoPool|WaitQueueTimeout/.test(error.name) ||
    error.hasErrorLabel('RetryableWriteError') ||
    error.hasErrorLabel('TransientTransactionError') ||
    isChangeOfPrimary(error) ||
    passingCodes.has(serverCode(error) ?? 0)
  )
}

/** A failed login can surface as a server selection error with the server's answer inside. */
function serverAnswer(error: MongoError): unknown {
  return error instanceof MongoServerSelectionError && error.cause instanceof MongoError
    ? error.cause
    : error
}
