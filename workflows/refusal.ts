import { ActivityFailure, ApplicationFailure, ChildWorkflowFailure } from '@temporalio/workflow'
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
  if (failure instanceof ActivityFailure || failure instanceof ChildWorkflowFailure) {
    return reportOf(failure.cause)
  }
  return { code: 'internal', message: failure instanceof Error ? failure.message : String(failure) }
}

/** Ends a workflow with a coded refusal that the client can read back. Never a plain Error: it would repeat the task for ever. */
export function refuse(report: ErrorReport): never {
  throw ApplicationFailure.create({
    type: report.code,
    message: report.message,
    nonRetryable: true,
    category: 'BENIGN',
    details: [{ hint: report.hint }],
  })
}
