import { workflowInfo } from '@temporalio/workflow'

/**
 * After so many events a run continues as new, if the server does not suggest it earlier (4,096 by default). Work in flight
 * adds a few hundred more; Temporal warns at 10,240.
 */
const eventsPerRun = 8_000

/** Thrown at a safe point when the history is long. Not a failure: the next run continues. */
export class RunIsFull extends Error {}

export function isRunFull(): boolean {
  const { continueAsNewSuggested, historyLength } = workflowInfo()
  return continueAsNewSuggested || historyLength >= eventsPerRun
}
