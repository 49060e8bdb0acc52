import { censusOf } from './facts.ts'
import { end, rotationOf, transaction } from './rotations.ts'
import { step } from './state.ts'
import type { Bounds, State, Step } from './state.ts'

/**
 * What somebody who may call a rotation's steps does, at any moment: while its workflow is elsewhere, and after it was
 * terminated, under its own workflow id. An input names the rotation; versions, epoch and what was asked come from its
 * row. A forged finish with an error is a cancel, which the bounds have already.
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

/** activities/rotation.ts, `promote`: nothing of its input but the id counts. */
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

/** activities/finish-rotation.ts, `whatIsLeft`: promoted, a look has settled, and A is counted at zero twice. */
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
