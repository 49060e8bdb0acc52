import {
  ApplicationFailure,
  CancelledFailure,
  ServerFailure,
  TerminatedFailure,
  TimeoutFailure,
} from '@temporalio/common'
import { reasonOf } from '../../contracts/reasons.ts'
import { isErrorCode, KeyturnError, type ErrorCode } from '../../contracts/errors.ts'

/**
 * Turns a failure from Temporal back into the KeyturnError that it was (type = code, details[0].hint). A workflow that was
 * ended from outside, and any unknown failure, gets the code `otherwise`. Errors that are no failure of a workflow
 * (connection errors, KeyturnErrors) are returned unchanged.
 */
export function decodeFailure(error: unknown, otherwise: ErrorCode): unknown {
  if (error instanceof KeyturnError) return error
  for (let current = error; current instanceof Error; current = current.cause) {
    if (current instanceof ApplicationFailure) return fromApplication(current, otherwise)
    if (current instanceof TerminatedFailure || current instanceof CancelledFailure) {
      const how = current instanceof TerminatedFailure ? 'terminated' : 'cancelled'
      return new KeyturnError(otherwise, `its workflow was ${how} from outside`, {
        hint: 'the Temporal UI shows who did it; run the same command again',
        cause: error,
      })
    }
    if (current instanceof TimeoutFailure) {
      return new KeyturnError(otherwise, 'its workflow ran out of time', {
        hint: 'look at the log of the workers',
        cause: error,
      })
    }
    if (current instanceof ServerFailure) {
      return new KeyturnError(otherwise, `temporal ended it: ${reasonOf(current)}`, {
        hint: 'look at the log of the workers',
        cause: error,
      })
    }
  }
  return error
}

/** The error that a result carries as data. */
export function fromReport(
  report: { code: string; message: string; hint?: string } | null,
  otherwise: ErrorCode,
): KeyturnError | null {
  if (report === null) return null
  return new KeyturnError(isErrorCode(report.code) ? report.code : otherwise, report.message, {
    ...(report.hint === undefined ? {} : { hint: report.hint }),
  })
}

function fromApplication(failure: ApplicationFailure, otherwise: ErrorCode): KeyturnError {
  const hint = hintOf(failure.details?.[0])
  const code = isErrorCode(failure.type) ? failure.type : otherwise
  return new KeyturnError(code, failure.message, {
    ...(hint === undefined ? {} : { hint }),
    cause: failure,
  })
}

function hintOf(details: unknown): string | undefined {
  if (typeof details !== 'object' || details === null || !('hint' in details)) return undefined
  return typeof details.hint === 'string' ? details.hint : undefined
}
