import {
  allHandlersFinished,
  condition,
  makeContinueAsNewFunc,
  workflowInfo,
} from '@temporalio/workflow'
import type { CarriedRotation } from '../contracts/rotation.ts'
import type { rotateKek } from './rotate-kek.ts'
import type { RotationState } from './rotation-state.ts'

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

/** Continues as new after all messages are answered. No child is running: a range continues from its document. */
export async function beginNextRun(state: RotationState): Promise<never> {
  await condition(allHandlersFinished)
  // The memo is not inherited, and the client recognizes the rotation by it.
  const { memo = {} } = workflowInfo()
  return await makeContinueAsNewFunc<typeof rotateKek>({ memo })(state.input, carriedBy(state))
}

function carriedBy(state: RotationState): CarriedRotation {
  const { phase, paused, pausedBy, shown, cancelled, maxRate, total, counters, startedAt } = state
  const { facts, asked, plan, round, walk, fleet, awaiting, silent } = state
  return {
    ...{ phase, paused, pausedBy, shown, cancelled, maxRate, total, counters, startedAt },
    ...{ facts, asked, plan, round, walk, fleet, awaiting, silent },
  }
}
