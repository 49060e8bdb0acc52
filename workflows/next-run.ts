import {
  allHandlersFinished,
  condition,
  makeContinueAsNewFunc,
  workflowInfo,
} from '@temporalio/workflow'
import type { CarriedRotation, RotateInput } from '../contracts/rotation.ts'
import type { RotationState } from './rotation-state.ts'

/** The arguments of the next run. */
type NextRun = (input: RotateInput, carried: CarriedRotation) => Promise<unknown>

/** Continues as new after all messages are answered. No child is running: a range continues from its document. */
export async function beginNextRun(state: RotationState): Promise<never> {
  await condition(allHandlersFinished)
  // The memo is not inherited, and the client recognizes the rotation by it.
  const { memo = {} } = workflowInfo()
  return await makeContinueAsNewFunc<NextRun>({ memo })(state.input, carriedBy(state))
}

function carriedBy(state: RotationState): CarriedRotation {
  const {
    phase,
    pauses,
    opensAt,
    isOutside,
    shown,
    cancelled,
    maxRate,
    total,
    counters,
    startedAt,
  } = state
  const { facts, asked, plan, round, walk, fleet, awaiting, silent } = state
  return {
    phase,
    pauses,
    opensAt,
    isOutside,
    shown,
    cancelled,
    maxRate,
    total,
    counters,
    startedAt,
    facts,
    asked,
    plan,
    round,
    walk,
    fleet,
    awaiting,
    silent,
  }
}
