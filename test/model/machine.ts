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

/** The protocol within bounds. Every order of the steps is tried; nothing is fair, so each may also never come. */
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
 * The invariants of 2-protocol.md that a state can break: 1, each envelope opens under the version that it names; 3, no
 * version is destroyed that is active, that a process may wrap under, or that an envelope names. What a step can break
 * (a wrap after settle, a rotation that completes too early) is said where the step is; 2 and 5, nobody's data is lost,
 * is part of 1: an envelope whose wrap holds another DEK than its data is under does not open.
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
