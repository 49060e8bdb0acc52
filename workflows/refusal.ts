import {
  ActivityFailure,
  ApplicationFailure,
  CancelledFailure,
  ChildWorkflowFailure,
  TerminatedFailure,
  TimeoutFailure,
} from '@temporalio/workflow'
import { isErrorCode, KeyturnError } from '../contracts/errors.ts'
import type { ErrorReport } from '../contracts/errors.ts'

/** The coded error inside a failure that crossed an activity or a child workflow; `internal` when there is none. */
export function reportOf(failure: unknown): ErrorReport {
  if (failure instanceof KeyturnError) return failure.toJSON()
  if (failure instanceof ApplicationFailure) {
    const hint = (failure.details?.[0] as { hint?: string } | undefined)?.hint
    return {
      code: isErrorCode(failure.type) ? failure.type : 'internal',
      message: failure.message,
      ...(hint === undefined ? {} : { hint }),
    }
  }
  // Only steps with keys fail by this timeout; for a question to a host it counts as no answer.
  if (failure instanceof TimeoutFailure && failure.timeoutType === 'SCHEDULE_TO_START') {
    return {
      code: 'no-worker',
      message: 'no worker with keys took the work in time',
      hint: 'start one where the keys are: keyturn worker --roles rewrap',
    }
  }
  if (failure instanceof TerminatedFailure) {
    return {
      code: 'temporal-refused',
      message: 'one of its workflows was terminated from outside',
      hint: 'the Temporal UI shows who did it; run the same command again',
    }
  }
  if (failure instanceof CancelledFailure) {
    return {
      code: 'cancelled',
      message: 'its workflow was cancelled from outside',
      hint: 'run the same command again',
    }
  }
  if (failure instanceof ActivityFailure || failure instanceof ChildWorkflowFailure) {
    return reportOf(failure.cause)
  }
  return { code: 'internal', message: failure instanceof Error ? failure.message : String(failure) }
}

/** Whether a child workflow was terminated or cancelled from outside, which says nothing about its work. */
export function isEndedFromOutside(failure: unknown): boolean {
  if (!(failure instanceof ChildWorkflowFailure)) return false
  const { cause } = failure
  return (
    cause instanceof TerminatedFailure ||
    cause instanceof CancelledFailure ||
    cause instanceof TimeoutFailure
  )
}

/** Ends a workflow with a coded refusal that the client can read. Never a plain Error: Temporal would retry the task for ever. */
export function refuse(report: ErrorReport): never {
  throw ApplicationFailure.create({
    type: report.code,
    message: report.message,
    nonRetryable: true,
    category: 'BENIGN',
    details: [{ hint: report.hint }],
  })
}
