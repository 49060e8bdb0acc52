import { removalGuards } from '../../protocol/removal-guards.ts'
import type { FenceFact } from '../../protocol/guard-facts.ts'
import { removalFacts } from './facts.ts'
import { commitPromote, openPromote, rotationOf, transaction } from './rotations.ts'
import { tell } from './restores.ts'
import { conflictWith, rowOf, step } from './state.ts'
import type { Bounds, State, Step, Transaction } from './state.ts'

/**
 * workflows/remove-kek.ts and store/version-removal.ts: guards, request, fence, guards again (read one after the other, as
 * the real ones are), the end. An undo may come at any moment; it does not stop attempts that are already running.
 */
export function removalSteps(state: State, bounds: Bounds): Step[] {
  if (bounds.removal === null) return []
  const { version, requests } = bounds.removal
  const { removal } = state
  const row = rowOf(state, version)
  const steps: Step[] = []
  const add = (what: string, change: (next: State) => void) =>
    steps.push(step(state, `removal of version ${version}: ${what}`, change))
  const stands = removal.request !== 0 && row.removal === removal.request && !row.destroyed
  if (stands) add('is undone', (next) => undo(next, bounds))
  if (removal.step === 'idle' || removal.step === 'over') {
    // A restore is declared before anything is removed.
    if (state.restore === 'done' || removal.request >= requests) return steps
    if (!passes(state, bounds, 'possible')) return steps
    add('its guards pass, it is asked for', (next) => {
      closeAll(next, bounds)
      const request = removal.request + 1
      next.removal = { request, step: 'asked', guardRun: 0, passed: false }
      next.transactions.push(transaction('request', request, 0))
    })
  }
  if (removal.step === 'asked' && stands) {
    add('the fence is raised', (next) => {
      // A version that was never active needs no fence.
      if (bounds.rules.fence && (row.activated || row.left)) next.fenced = version
      next.removal.step = 'pending'
    })
  }
  if (stands) steps.push(...forgedSteps(state, bounds, version))
  if (removal.step === 'pending' && stands) {
    add('the guards run again: fleet, rotation, active version', (next) => {
      closeAll(next, bounds)
      const guardRun = row.guardRun + 1
      rowOf(next, version).guardRun = guardRun
      // The last transaction of another run may be open.
      if (bounds.forges) conflictWith(next, ['promote', 'request', 'destroy'])
      const passed = passes(next, bounds, 'stands', 'before the census')
      Object.assign(next.removal, { step: 'checking', guardRun, passed })
    })
  }
  steps.push(...lastLook(state, bounds))
  return steps
}

/** Census and fence; when they are not read at one moment, odd envelopes are counted first. */
function lastLook(state: State, bounds: Bounds): Step[] {
  const { removal } = state
  const { version } = bounds.removal ?? { version: 0 }
  const name = `removal of version ${version}: the guards run again:`
  if (removal.step === 'checking' && !bounds.rules.oneMoment) {
    return [
      step(state, `${name} odd envelopes`, (next) => {
        next.removal.step = 'counting'
        next.removal.passed &&= !state.envelopes.some(({ odd }) => odd === true)
      }),
    ]
  }
  if (removal.step !== 'checking' && removal.step !== 'counting') return []
  const counted = bounds.rules.oneMoment
    ? bounds
    : { ...bounds, rules: { ...bounds.rules, oddCounts: false } }
  return [
    step(state, `${name} census and fence`, (next) => {
      if (!(removal.passed && passes(next, counted, null, 'census'))) {
        undo(next, bounds)
        return
      }
      next.removal.step = 'passed'
      const { request, guardRun } = removal
      next.transactions.push({ ...transaction('destroy', request, 0), guardRun })
    }),
  ]
}

/**
 * Forged steps at any moment and with any input, during the second run of the guards. A step that checks the guards
 * itself starts another run of them beside the first, and does nothing before the fence is recorded. One that trusts its input
 * destroys.
 */
function forgedSteps(state: State, { rules, forges }: Bounds, version: number): Step[] {
  const { removal } = state
  const { guardRun } = rowOf(state, version)
  if (!forges || guardRun >= 2) return []
  const name = `removal of version ${version}: a forged step`
  if (!rules.ownGuards) {
    const destroy = (next: State) => {
      rowOf(next, version).guardRun = guardRun + 1
      const told = transaction('destroy', removal.request, 0)
      next.transactions.push({ ...told, guardRun: guardRun + 1 })
    }
    return [step(state, `${name} says that the guards have passed`, destroy)]
  }
  if (removal.step !== 'checking' && removal.step !== 'passed') return []
  const again = (next: State) => {
    next.removal.step = 'pending'
  }
  return [step(state, `${name} begins another run of the guards`, again)]
}

/** Whether the guards pass: all of them, or only those whose facts are read now. */
function passes(
  state: State,
  bounds: Bounds,
  fence: FenceFact | null,
  which: 'all' | 'before the census' | 'census' = 'all',
): boolean {
  const { version } = bounds.removal ?? { version: 0 }
  const facts = removalFacts(state, bounds, version)
  return removalGuards({ ...facts, fence: fence ?? facts.fence })
    .filter(({ guard }) => {
      const isCensus = guard === 'census-zero' || guard === 'fence'
      return which === 'all' || isCensus === (which === 'census')
    })
    .every(({ ok }) => ok)
}

/** `undoRemoval`: filtered by the request id and "not destroyed"; then the fence is lowered. */
export function undo(next: State, bounds: Bounds): void {
  const row = rowOf(next, bounds.removal?.version ?? 0)
  if (row.removal === next.removal.request && !row.destroyed) {
    Object.assign(row, { removal: 0, undone: next.removal.request, guardRun: 0 })
    next.fenced = 0
    tell(next, bounds)
    conflictWith(next, ['promote', 'request', 'destroy'])
  }
  next.removal.step = 'over'
}

function closeAll(next: State, { rules }: Bounds): void {
  if (rules.closeRanges) for (const range of next.ranges) range.closed = true
}

/** Transactions of promote, request and destroy: first the snapshot read, then the commit. */
export function transactionSteps(state: State, bounds: Bounds): Step[] {
  return state.transactions.map((transaction, at) => {
    const name = `${transaction.kind} (${transaction.kind === 'promote' ? 'rotation' : 'request'} ${transaction.kind === 'promote' ? transaction.by + 1 : transaction.by})`
    if (!transaction.open) {
      return step(state, `${name} reads`, (next) => open(next, bounds, at, transaction))
    }
    if (transaction.conflict) {
      return step(state, `${name} meets a conflict, and begins anew`, (next) => {
        next.transactions[at] = { ...transaction, open: false, conflict: false }
      })
    }
    return step(state, `${name} commits`, (next) => commit(next, bounds, at, transaction))
  })
}

function open(next: State, bounds: Bounds, at: number, transaction: Transaction): void {
  const refuse = () => next.transactions.splice(at, 1)
  if (transaction.kind === 'promote') {
    const opened = openPromote(next, bounds, transaction)
    if (opened === null) refuse()
    else if (opened === 'done') {
      refuse()
      const rotation = rotationOf(next, transaction.by)
      if (rotation.step === 'promote') rotation.step = 'plan'
    } else next.transactions[at] = { ...transaction, ...opened, open: true }
    return
  }
  const mayGo = transaction.kind === 'request' ? mayRequest : mayDestroy
  if (mayGo(next, bounds, transaction)) next.transactions[at] = { ...transaction, open: true }
  else {
    refuse()
    if (next.removal.request === transaction.by && transaction.kind === 'request') {
      next.removal.step = 'over'
    }
  }
}

/** `requestRemoval`: "no rotation, no removal, not destroyed, not taken back before", and not the active version. */
function mayRequest(state: State, bounds: Bounds, { by }: Transaction): boolean {
  const { version } = bounds.removal ?? { version: 0 }
  const row = rowOf(state, version)
  const isFree = row.mark === 0 && row.removal === 0 && !row.destroyed && row.undone !== by
  return isFree && state.active.v !== version
}

/** `destroyVersion`: this request, this run of the guards, no rotation, and not the active version. */
function mayDestroy(state: State, bounds: Bounds, { by, guardRun }: Transaction): boolean {
  const { version } = bounds.removal ?? { version: 0 }
  const row = rowOf(state, version)
  const isOurs = row.removal === by && row.guardRun === guardRun && !row.destroyed
  return isOurs && row.mark === 0 && state.active.v !== version
}

function commit(next: State, bounds: Bounds, at: number, transaction: Transaction): string | null {
  next.transactions.splice(at, 1)
  if (transaction.kind === 'promote') {
    return commitPromote(next, bounds, transaction)
  }
  const row = rowOf(next, bounds.removal?.version ?? 0)
  if (transaction.kind === 'request') Object.assign(row, { removal: transaction.by, guardRun: 0 })
  else {
    row.destroyed = true
    next.removal.step = 'over'
  }
  tell(next, bounds)
  const isWritten: Transaction['kind'][] = ['request', 'destroy']
  conflictWith(next, bounds.rules.marks ? [...isWritten, 'promote'] : isWritten)
  return null
}
