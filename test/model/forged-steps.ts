import { censusOf } from './facts.ts'
import { end, rotationOf, transaction } from './rotations.ts'
import { step } from './state.ts'
import type { Bounds, State, Step } from './state.ts'

/**
 * Forged calls of a rotation's steps at any moment: while its workflow is at another step, or after it was terminated,
 * under its own workflow id. The input names the rotation; versions, epoch and question come from its row. A forged finish
 * with an error is a cancel, which the bounds already cover.
 */
export function forgedSteps(state: State, bounds: Bounds): Step[] {
  if (!bounds.forgesRotation) return []
  return state.rotations.flatMap(({ step: at, ended }, number) => {
    if (at === 'idle' || ended) return []
    const name = `rotation ${number + 1}`
    return [
      ...forgedPromote(state, bounds, number, name),
      ...forgedFinish(state, bounds, number, name),
    ]
  })
}

/** activities/rotation.ts, `promote`: it uses only the id from its input. */
function forgedPromote(state: State, bounds: Bounds, at: number, name: string): Step[] {
  const { needsPromote, epoch } = rotationOf(state, at)
  const underway = state.transactions.filter(({ kind, by }) => kind === 'promote' && by === at)
  if (!needsPromote || epoch === 0 || underway.length >= bounds.promotes) return []
  return [
    step(state, `${name}: a forged promote is sent`, (next) => {
      next.transactions.push(transaction('promote', at, epoch))
    }),
  ]
}

/** activities/finish-rotation.ts, `whatIsLeft`: promoted, settled, and A counted at zero twice. */
function forgedFinish(state: State, bounds: Bounds, at: number, name: string): Step[] {
  const [from = 0, to = 0] = bounds.rotations[at] ?? []
  if (!bounds.rules.ownEnd) {
    const says = `${name}: a forged finish says that settle is over`
    return [step(state, says, (next) => end(next, bounds, at, true))]
  }
  const { promoted, needsPromote, settled, epoch } = rotationOf(state, at)
  const isPromoted = promoted || (epoch > 0 && !needsPromote)
  if (!isPromoted || !settled || state.active.v !== to || censusOf(state, from) > 0) return []
  return [
    step(state, `${name}: a forged finish counts nothing`, (next) => {
      const mine = rotationOf(next, at)
      mine.zeros += 1
      return mine.zeros === 2 ? end(next, bounds, at, true) : null
    }),
  ]
}
