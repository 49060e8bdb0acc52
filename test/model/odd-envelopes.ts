import { step } from './state.ts'
import type { State, Step } from './state.ts'

/**
 * An envelope's version is overwritten with an invalid value and repaired later. MongoDB's validator does not see an odd
 * envelope; a repaired one names the version, so the validator refuses it. No count can see an envelope that becomes odd
 * after the last run of the guards; the search ends there.
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

/** A program outside the fleet writes a record back as it was; only the validator can refuse it. */
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
