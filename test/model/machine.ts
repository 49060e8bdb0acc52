import type { Machine } from './explore.ts'
import { tokenSteps } from './copies.ts'
import { mayWrap } from './facts.ts'
import { forgedSteps } from './forged-steps.ts'
import { oddSteps } from './odd-envelopes.ts'
import { processSteps, tick } from './processes.ts'
import { removalSteps, transactionSteps } from './removals.ts'
import { restoreSteps } from './restores.ts'
import { rotationSteps, verifySteps } from './rotations.ts'
import { fingerprint } from './fingerprint.ts'
import { initialState, rowOf } from './state.ts'
import type { Bounds, State } from './state.ts'
import { sweepSteps } from './sweep.ts'

/** The protocol within bounds. Every order of the steps is tried; there is no fairness, so any step may never happen. */
export function machineOf(bounds: Bounds): Machine<State> {
  return {
    initial: initialState(bounds),
    key: fingerprint,
    invariant: (state) => brokenIn(state, bounds),
    next: (state) => [
      ...rotationSteps(state, bounds),
      ...forgedSteps(state, bounds),
      ...verifySteps(state),
      ...transactionSteps(state, bounds),
      ...removalSteps(state, bounds),
      ...sweepSteps(state, bounds),
      ...restoreSteps(state, bounds),
      ...oddSteps(state),
      ...tokenSteps(state, bounds),
      ...processSteps(state, bounds),
      tick(state, bounds),
    ],
  }
}

/**
 * The invariants (docs/protocol.md) that a state can break: each envelope opens under the version that it names (1), and no
 * version is destroyed that is active, that a process may wrap under, or that an envelope names (3). Lost data (2 and 5)
 * breaks 1 as well: an envelope whose wrap holds another DEK than its data does not open. What a single step can break, a
 * wrap after settle or a rotation that completes too early, is checked at that step.
 */
function brokenIn(state: State, bounds: Bounds): string | null {
  for (const { v, gen, wrapped } of state.envelopes) {
    if (gen !== wrapped) return 'the wrap of an envelope holds the key of older data'
    if (rowOf(state, v).destroyed) return `an envelope is under version ${v}, which is destroyed`
    if (state.lostKeys.includes(v)) return `an envelope is under version ${v}, whose key a copy destroyed` // prettier-ignore
  }
  if (rowOf(state, state.active.v).destroyed) return `the active version is destroyed`
  if (state.leftForGood[state.active.v] === true) {
    return `version ${state.active.v}, which settle had left, was made active by a rotation that is over`
  }
  for (const [at, process] of state.processes.entries()) {
    const { active: v, isRestored, isBehind } = process
    if (v === 0 || !process.alive || isRestored || isBehind || !rowOf(state, v).destroyed) continue
    if (mayWrap(process, bounds)) return `app ${at} may wrap under version ${v}, which is destroyed`
  }
  return null
}
