import { step } from './state.ts'
import type { State, Step } from './state.ts'

/**
 * Somebody writes something into an envelope's version that is none, and mends it again. MongoDB's fence does not know such
 * an envelope; one that is mended names the version, so the fence refuses it. What is damaged after the guards' last look
 * no count can see: this is where the search ends.
 */
export function oddSteps(state: State): Step[] {
  return [...damageSteps(state), ...straySteps(state)]
}

function damageSteps(state: State): Step[] {
  const isLooking = state.removal.step !== 'passed'
  return state.envelopes.flatMap((envelope, at) => {
    const change = (odd: boolean) => (next: State) => {
      next.envelopes[at] = { ...envelope, odd }
      if (odd) next.odds -= 1
    }
    const name = `envelope ${at}, under version ${envelope.v},`
    if (envelope.odd === true) {
      if (state.fenced === envelope.v) return []
      return [step(state, `${name} is mended`, change(false))]
    }
    return state.odds > 0 && isLooking ? [step(state, `${name} becomes odd`, change(true))] : []
  })
}

/** Software that is no member of the fleet writes a record as it was; only the fence can refuse it. */
function straySteps(state: State): Step[] {
  const { stray } = state
  if (stray === 'done') return []
  if (stray === 'none') {
    return state.envelopes
      .filter(({ odd }) => odd !== true)
      .map((envelope) =>
        step(state, 'a stray writer reads a record', (next) => void (next.stray = envelope)),
      )
  }
  const isRefused = state.fenced === stray.v
  const name = `what it has, under version ${stray.v}, is ${isRefused ? 'refused' : 'written'}`
  return [
    step(state, name, (next) => {
      next.stray = 'done'
      if (!isRefused) next.envelopes[0] = stray
    }),
  ]
}
