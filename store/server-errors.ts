import {
  Int32,
  MongoBulkWriteError,
  MongoClientClosedError,
  MongoError,
  MongoErrorLabel,
  MongoNetworkError,
  MongoNotConnectedError,
  MongoServerError,
  MongoTopologyClosedError,
  MongoWriteConcernError,
} from 'mongodb'
import { serverCodes } from './server-codes.ts'

/**
 * The only place that knows MongoDB's error codes and the wording of its messages: each question about an error of a
 * statement is a function here. store-errors.ts turns such errors into coded ones.
 */

type CodeName = keyof typeof serverCodes

/** The server's error code, also of a bulk write's first error; null if the error is not from the server. */
export function serverCode(error: unknown): number | null {
  if (!(error instanceof MongoServerError)) return null
  const code: unknown = error.code
  // An answer to a statement with `promoteValues: false` is not promoted either.
  if (code instanceof Int32) return code.value
  return typeof code === 'number' ? code : null
}

function hasCode(error: unknown, ...names: CodeName[]): boolean {
  const code = serverCode(error)
  return names.some((name) => serverCodes[name] === code)
}

function hasLabel(error: unknown, label: string): boolean {
  return error instanceof MongoError && error.hasErrorLabel(label)
}

/* Refusals */

export function isDuplicateKey(error: unknown): boolean {
  return hasCode(error, 'duplicateKey')
}

/** The collection's validator refuses the document. */
export function isInvalidDocument(error: unknown): boolean {
  return hasCode(error, 'documentValidationFailure')
}

/** This user's roles lack the action. */
export function isUnauthorized(error: unknown): boolean {
  return hasCode(error, 'unauthorized')
}

/** Wrong user or password, or a mechanism that the server does not have. */
export function isLoginRefused(error: unknown): boolean {
  return hasCode(
    error,
    'userNotFound',
    'authenticationFailed',
    'mechanismUnavailable',
    'atlasError',
  )
}

/** Refused by access control: the login, or a role that lacks the action. */
export function isRefused(error: unknown): boolean {
  return isUnauthorized(error) || isLoginRefused(error)
}

/** There is no such collection. */
export function isMissingCollection(error: unknown): boolean {
  return hasCode(error, 'namespaceNotFound')
}

/** The collection that was to be created exists. */
export function isExistingCollection(error: unknown): boolean {
  return hasCode(error, 'namespaceExists')
}

export function isViewRefusal(error: unknown): boolean {
  return hasCode(error, 'commandNotSupportedOnView')
}

/** An index cannot be created beside those that exist. */
export function isIndexConflict(error: unknown): boolean {
  return hasCode(error, 'cannotCreateIndex', 'indexOptionsConflict', 'indexKeySpecsConflict')
}

/** The index that a statement names does not exist, or its key means several. The codes, 2 (BadValue) and 17007, are not specific. */
export function isBadHint(error: unknown): boolean {
  return (
    error instanceof Error &&
    /hint provided does not correspond|planner returned error: bad hint|hint matched multiple indexes/i.test(
      error.message,
    )
  )
}

/** Codes of refusals that the document itself causes, so they would repeat: a validator, its size, an index. */
const documentRefusals: ReadonlySet<number> = new Set([
  serverCodes.documentValidationFailure,
  serverCodes.objectTooLargeAfterUpdate,
  serverCodes.objectTooLarge,
  serverCodes.pathNotViable,
  serverCodes.cannotIndexParallelArrays,
  serverCodes.duplicateKey,
])

/** Whether a statement's error, given by its code, is caused by the document. */
export function isDocumentRefusal(code: number): boolean {
  return documentRefusals.has(code)
}

/** The server cannot write now, whatever the document: no space, a shutdown, a lock, a lost snapshot. */
export function isServerTrouble(error: unknown): boolean {
  return (
    hasCode(error, 'outOfDiskSpace', 'atlasError', 'lockTimeout') ||
    hasCode(error, 'shutdownInProgress', 'interruptedAtShutdown') ||
    isSnapshotLost(error)
  )
}

/* Locks and time limits */

/** The statement reached its time limit. */
export function isTimeLimit(error: unknown): boolean {
  return hasCode(error, 'maxTimeExpired')
}

/** Another operation holds the collection's lock. */
export function isLocked(error: unknown): boolean {
  return isTimeLimit(error) || hasCode(error, 'lockTimeout')
}

/** An open transaction holds the document. */
export function isHeldDocument(error: unknown): boolean {
  return isTimeLimit(error) || hasCode(error, 'writeConflict')
}

/* Snapshots */

/** MongoDB does not have the snapshot any more, or cannot give one now: read again with another. */
export function isSnapshotLost(error: unknown): boolean {
  return hasCode(error, 'snapshotTooOld', 'snapshotUnavailable')
}

/** Capped collections have no snapshots. The code is also used for a snapshot in the future; only the message differs. */
export function isSnapshotOfCapped(error: unknown): boolean {
  return (
    hasCode(error, 'snapshotUnavailable') &&
    error instanceof Error &&
    /capped collection/i.test(error.message)
  )
}

/* Sessions and transactions */

/** Errors of a statement in a killed session. */
export function wasKilled(error: unknown): boolean {
  return hasCode(error, 'interrupted', 'noSuchTransaction', 'transactionTooOld')
}

/** The session has no open transaction on the server. */
export function isTransactionGone(error: unknown): boolean {
  return hasCode(error, 'noSuchTransaction')
}

/** The commit was not answered: it may have succeeded. */
export function isCommitUncertain(error: unknown): boolean {
  return hasLabel(error, MongoErrorLabel.UnknownTransactionCommitResult)
}

/** The transaction may be repeated. */
export function isTransactionPassing(error: unknown): boolean {
  return (
    hasLabel(error, MongoErrorLabel.TransientTransactionError) ||
    isCommitUncertain(error) ||
    wasKilled(error)
  )
}

/* Members and connections */

/** Refused before execution: the member is not the primary. */
export function isNotPrimary(error: unknown): boolean {
  return hasCode(error, 'notWritablePrimary', 'notPrimaryNoSecondaryOk', 'notPrimaryOrSecondary')
}

/** Refused, or interrupted and perhaps executed, because the primary is changing. */
function isChangeOfPrimary(error: unknown): boolean {
  return (
    isNotPrimary(error) ||
    hasCode(error, 'interruptedAtShutdown', 'interruptedByStateChange') ||
    hasCode(error, 'primarySteppedDown', 'shutdownInProgress')
  )
}

/**
 * The driver's own error of a bulk write. `bulkWrite` throws it as if the server had answered: a connection that was closed is
 * a `MongoServerError` without a code, with the original as its response.
 */
export function withoutBulk(error: unknown): unknown {
  if (!(error instanceof MongoBulkWriteError)) return error
  return error.errorResponse instanceof MongoError ? error.errorResponse : error
}

/** The primary changed during the statement. */
export function isElection(error: unknown): boolean {
  return isChangeOfPrimary(error) || withoutBulk(error) instanceof MongoNetworkError
}

/** The statement was not executed. */
export function isUndone(error: unknown): boolean {
  return isNotPrimary(error) || hasLabel(error, MongoErrorLabel.NoWritesPerformed)
}

/** The primary wrote it, but the other members did not confirm in time; it may persist. */
export function isUnconfirmed(error: unknown): boolean {
  return (
    hasCode(error, 'writeConcernFailed') ||
    (error instanceof MongoWriteConcernError && isTimeLimit(error))
  )
}

/**
 * The connection to the primary is cut, or the primary is changing, or the server is too slow: the same statement may
 * succeed later. The labels are the driver's (transactions and retryable writes specifications).
 */
export function isPassing(error: MongoError): boolean {
  return (
    isElection(error) ||
    error instanceof MongoTopologyClosedError ||
    error instanceof MongoNotConnectedError ||
    error instanceof MongoClientClosedError ||
    /^MongoPool|WaitQueueTimeout/.test(error.name) ||
    error.hasErrorLabel(MongoErrorLabel.RetryableWriteError) ||
    error.hasErrorLabel(MongoErrorLabel.TransientTransactionError) ||
    hasCode(error, 'hostUnreachable', 'hostNotFound', 'networkTimeout', 'socketException') ||
    hasCode(error, 'maxTimeExpired', 'exceededTimeLimit', 'writeConcernFailed', 'writeConflict')
  )
}
