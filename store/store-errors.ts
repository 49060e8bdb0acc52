import {
  MongoError,
  MongoMissingDependencyError,
  MongoServerError,
  MongoServerSelectionError,
} from 'mongodb'
import { KeyturnError, type ErrorCode } from '../contracts/errors.ts'
import { innermost, isSystemError, reasonOf } from '../contracts/reasons.ts'
import { listed, refusedAddress } from './mongodb-address.ts'
import { describeRefusal, refusedAction } from './refused-action.ts'
import {
  isLoginRefused,
  isPassing,
  isRefused,
  isTimeLimit,
  isUnconfirmed,
  serverCode,
  withoutBulk,
} from './server-errors.ts'
import { hints, searchHint, statementHint } from './store-hints.ts'
import { describeSearch } from './server-search.ts'

/**
 * The driver's error as the coded error that a caller can act on, with its innermost cause in the message: temporary errors
 * are `mongodb-unreachable`, refusals of the server `mongodb-refused`, unusable options of the address `config-invalid`.
 * Other errors are returned unchanged.
 */
export function asStoreError(thrown: unknown, where = 'mongodb'): unknown {
  const error = withoutBulk(thrown)
  if (!(error instanceof MongoError)) return error
  const coded = (code: ErrorCode, text: string, hint: string) =>
    new KeyturnError(code, text, { hint, cause: error })

  const inside = serverAnswer(error)
  if (isRefused(inside)) {
    const action = refusedAction(reasonOf(inside))
    if (action !== null) {
      const text = `${where} refused: ${describeRefusal(action)}`
      return coded('mongodb-refused', text, hints.roles)
    }
    const hint = isLoginRefused(inside) ? hints.login : hints.roles
    return coded('mongodb-refused', `${where} refused: ${reasonOf(inside)}`, hint)
  }
  if (error instanceof MongoMissingDependencyError) {
    return coded(
      'config-invalid',
      `${where} cannot be used: ${reasonOf(new Error(error.message))}`,
      hints.missing,
    )
  }
  if (error instanceof MongoServerSelectionError) {
    const search = describeSearch(error)
    return coded('mongodb-unreachable', `${where} cannot be reached: ${search}`, searchHint(search))
  }
  if (isUnconfirmed(error)) {
    const text = `${where} has not confirmed a write by a majority of its members: ${reasonOf(error)}`
    return coded('mongodb-unreachable', text, hints.majority)
  }
  if (isTimeLimit(error)) {
    return coded('mongodb-unreachable', `${where} took too long: ${reasonOf(error)}`, hints.slow)
  }
  if (isPassing(error)) {
    const reason = reasonOf(innermost(error))
    return coded('mongodb-unreachable', `${where} cannot be reached: ${reason}`, searchHint(reason))
  }
  if (error instanceof MongoServerError) return refusedStatement(error, where, coded)
  return error
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

type MakeError = (code: ErrorCode, text: string, hint: string) => KeyturnError

/** A refusal by the server. If it does not understand a statement, its version is too old. */
function refusedStatement(error: MongoServerError, where: string, coded: MakeError): KeyturnError {
  const { codeName } = error
  const name = typeof codeName === 'string' ? ` (${codeName})` : ''
  const hint = statementHint(serverCode(error))
  return coded('mongodb-refused', `${where} refused: ${reasonOf(error)}${name}`, hint)
}

/** A failed login can surface as a server selection error with the server's answer inside. */
function serverAnswer(error: MongoError): unknown {
  return error instanceof MongoServerSelectionError && error.cause instanceof MongoError
    ? error.cause
    : error
}
