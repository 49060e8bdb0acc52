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
 * Events of a run at which the next one begins, where the server does not suggest it before (4,096 by default). What is
 * then in flight costs a few hundred more; Temporal warns at 10,240.
 */
const eventsPerRun = 8_000

/** Thrown where a rotation can stop without a loss, when its history is long: not a failure, the next run goes on. */
export class RunIsFull extends Error {}

export function isRunFull(): boolean {
  const { continueAsNewSuggested, historyLength } = workflowInfo()
  return continueAsNewSuggested || historyLength >= eventsPerRun
}

/** Continues as new, once every message has its answer. No child runs then: a range goes on from its document. */
export async function beginNextRun(state: RotationState): Promise<never> {
  await condition(allHandlersFinished)
  // A memo that is not given is not inherited, and the client knows the rotation by it.
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
