import { isOlder } from '../../protocol/newest-state.ts'
import { end } from './rotations.ts'
import { undo } from './removals.ts'
import { conflictWith, initialState, rowOf, step } from './state.ts'
import type { Bounds, Envelope, Process, Row, State, Step } from './state.ts'

/**
 * The database is restored to an older state while all processes continue. Temporal is not restored: requests made since
 * then have no row any more, so their steps are foreign and do nothing.
 */

/** The documents of the keystore, and the records; nothing else matters between two rotations. */
export interface Dump {
  active: State['active']
  rows: readonly Row[]
  fenced: number
  envelopes: readonly Envelope[]
  entries: number
  leftForGood: readonly boolean[]
}

export function restoreSteps(state: State, bounds: Bounds): Step[] {
  if (bounds.restore === null) return []
  const { restore } = state
  const dump = bounds.restore === 'first' ? dumpOf(initialState(bounds)) : state.dump
  const isQuiet =
    state.rotations.every(({ step }) => step === 'idle' || step === 'gone') &&
    (state.removal.step === 'idle' || state.removal.step === 'over')
  const steps: Step[] = []
  if (dump === null && isQuiet) {
    steps.push(step(state, 'a dump is taken', (next) => void (next.dump = dumpOf(state))))
  }
  if (dump !== null && restore === 'not yet') {
    steps.push(step(state, 'the dump is put back in place', (next) => putBack(next, dump)))
  }
  if (restore === 'done') {
    steps.push(step(state, 'somebody runs setup --restored', (next) => declare(next, bounds)))
  }
  return steps
}

function dumpOf({ active, rows, fenced, envelopes, entries, leftForGood }: State): Dump {
  return { active, rows, fenced, envelopes, entries, leftForGood }
}

/** Heartbeats of a dump have expired. A fence is a validator of the collection: at worst it is as it was in the dump. */
function putBack(next: State, dump: Dump): void {
  Object.assign(next, {
    active: dump.active,
    rows: dump.rows.map((row) => ({ ...row })),
    fenced: dump.fenced,
    envelopes: dump.envelopes.slice(),
    entries: dump.entries,
    leftForGood: dump.leftForGood.slice(),
    questions: [],
    transactions: [],
    shards: [],
    restore: 'done',
  })
  for (const rotation of next.rotations) {
    if (rotation.step !== 'idle')
      Object.assign(rotation, { step: 'gone', ended: true, round: null })
  }
  if (next.removal.step !== 'idle') next.removal.step = 'over'
  for (const process of next.processes) Object.assign(process, { doc: null, seen: null })
}

/** store/keystore-relocation.ts, `declareRestored`. */
function declare(next: State, bounds: Bounds): void {
  const { removal } = bounds
  if (removal !== null && rowOf(next, removal.version).removal !== 0) undo(next, bounds)
  for (const [at, { step: stands, ended }] of next.rotations.entries()) {
    if (stands !== 'idle' && !ended) end(next, bounds, at, false)
  }
  const seen = next.processes.map(({ doc }) => doc?.epoch ?? 0)
  const epoch = Math.max(next.active.epoch, ...seen) + 1
  next.active = { ...next.active, epoch }
  next.restore = 'declared'
  if (bounds.rules.restoredRows) {
    for (const row of next.rows.slice(1)) {
      if (!row.activated && !row.destroyed) Object.assign(row, { left: true, leftEpoch: epoch })
    }
  }
  conflictWith(next, ['promote', 'request', 'destroy'])
}

/** Whether a process finds the keystore older than what it has seen. */
export function findsOlder(state: State, bounds: Bounds, { age, epoch }: Process): boolean {
  if (bounds.restore === null) return false
  const restorationOf = (restored: boolean) => (restored ? 'restored' : null)
  const read = {
    id: 'keystore',
    restoration: restorationOf(state.restore === 'declared'),
    epoch: state.active.epoch,
    entries: state.entries,
  }
  if (age === null) return false
  const seen = {
    id: 'keystore',
    restoration: restorationOf(age.restored),
    epoch,
    entries: age.entries,
  }
  return isOlder(read, seen)
}

/** Adds an audit entry; every act that processes can see has one. */
export function tell(next: State, bounds: Bounds): void {
  if (bounds.restore !== null) next.entries += 1
}
