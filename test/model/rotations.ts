import { provenInAll } from '../../protocol/proven-in-all.ts'
import { isReady, fleetReadiness } from '../../protocol/readiness.ts'
import { rotationRoute } from '../../protocol/rotation-route.ts'
import {
  censusOf,
  heartbeatsOf,
  isOld,
  lookAt,
  noncesOf,
  readinessFacts,
  versionsOf,
} from './facts.ts'
import { copySteps } from './copies.ts'
import { tell } from './restores.ts'
import { conflictWith, rowOf, step } from './state.ts'
import type { Bounds, Rotation, State, Step, Transaction } from './state.ts'

/**
 * The steps of workflows/rotate-kek.ts and the statements behind them. Each step names the MongoDB filter that it models;
 * these filters cannot be functions of protocol/.
 */
export function rotationSteps(state: State, bounds: Bounds): Step[] {
  const steps: Step[] = []
  for (const [at, rotation] of state.rotations.entries()) {
    const pair = bounds.rotations[at]
    if (pair === undefined || rotation.step === 'gone') continue
    if (rotation.step === 'idle') {
      const mayStart = state.rotations.every((one, other) => other >= at || one.step === 'gone')
      const isLater = at > 0 && bounds.restore === 'first' && state.restore === 'not yet'
      const isBack = bounds.finishes || state.active.v === pair[0]
      if (mayStart && isBack && !isLater) steps.push(start(state, at, pair))
      continue
    }
    const [from, to] = pair
    const name = `rotation ${at + 1} (${from} → ${to})`
    steps.push(...phaseSteps(state, bounds, at, rotation, name))
    if (bounds.copied) steps.push(...copySteps(state, bounds, at, name))
    if (bounds.cancels) {
      steps.push(step(state, `${name} is cancelled`, (next) => end(next, bounds, at, false)))
    }
    if (bounds.terminates) {
      steps.push(
        step(state, `the workflow of ${name} is terminated`, (next) => {
          rotationOf(next, at).step = 'gone'
        }),
      )
    }
  }
  return steps
}

/** activities/preflight.ts: the row is inserted and the route decided; a refusal changes nothing. */
function start(state: State, at: number, [from, to]: readonly [number, number]): Step {
  return step(state, `rotation ${at + 1} (${from} → ${to}) begins`, (next) => {
    const rotation = rotationOf(next, at)
    try {
      const route = rotationRoute({ versions: versionsOf(next), active: next.active.v, from, to })
      Object.assign(rotation, { step: 'routed', needsPromote: route.promote })
    } catch {
      Object.assign(rotation, { step: 'gone', ended: true })
    }
  })
}

function phaseSteps(
  state: State,
  bounds: Bounds,
  at: number,
  rotation: Rotation,
  name: string,
): Step[] {
  const [from = 0, to = 0] = bounds.rotations[at] ?? []
  const go = (what: string, change: (next: State, rotation: Rotation) => unknown) => [
    step(state, `${name}: ${what}`, (next) => change(next, rotationOf(next, at))),
  ]
  switch (rotation.step) {
    case 'routed':
      return go('marks its versions', (next) => mark(next, bounds, at))
    case 'verify':
      if (!isVerified(state, bounds, rotation, to)) return []
      return go('verify is ready', (_, mine) => {
        mine.step = mine.needsPromote ? 'promote' : 'plan'
      })
    case 'promote': {
      const underway = state.transactions.filter(({ kind, by }) => kind === 'promote' && by === at)
      if (underway.length >= bounds.promotes) return []
      const sent = go('promote is sent', (next, { epoch }) => {
        next.transactions.push(
          transaction('promote', at, bounds.rules.epochOfPreflight ? epoch : 0),
        )
      })
      // Promote would be refused now; the rotation asks again after a pause.
      if (bounds.processes.length === 0 || !isOld(bounds, rotation)) return sent
      return go('its question is old, it asks again', (next, mine) => {
        mine.step = 'verify'
        ask(next, at, to)
      })
    }
    case 'plan': {
      const planned = go('plans its ranges', (next, mine) => {
        mine.step = bounds.envelopes > 0 ? 'sweep' : mine.settled ? 'census' : 'settle'
        if (bounds.envelopes > 0) plan(next, at)
      })
      return [...planned, ...watchSteps(bounds, rotation, from, go)]
    }
    case 'sweep':
    case 'tail': {
      const isSwept = state.ranges.every((range) => range.rotation !== at || range.closed)
      const after = rotation.settled ? 'census' : 'settle'
      const swept = isSwept ? go('has swept', (_, mine) => void (mine.step = after)) : []
      return [...swept, ...watchSteps(bounds, rotation, from, go)]
    }
    case 'settle':
      return watchSteps(bounds, rotation, from, go)
    case 'census':
      return censusSteps(state, bounds, at, from, go)
    case 'idle':
    case 'gone':
      return []
  }
}

/** Without processes in the bounds the fleet counts as ready: then only the order of the workflows matters. */
function isVerified(state: State, bounds: Bounds, rotation: Rotation, target: number): boolean {
  if (bounds.processes.length === 0) return true
  return isReady(fleetReadiness(readinessFacts(state, bounds, { rotation, target })))
}

type Go = (what: string, change: (next: State, rotation: Rotation) => unknown) => Step[]

/**
 * activities/fleet.ts, `watchFleet`: checks the fleet with observe and settleVerdict, from promote on, during the sweep; a
 * repeated activity starts over. Once it has ended no process may wrap under the old version, however long the sweep
 * continues.
 */
function watchSteps(bounds: Bounds, rotation: Rotation, from: number, go: Go): Step[] {
  if (rotation.settled) return []
  const end = (next: State, mine: Rotation) => {
    Object.assign(mine, { settled: true, round: null })
    if (mine.step === 'settle') mine.step = 'census'
    if (next.active.v !== from) next.leftForGood[from] = true
  }
  if (!bounds.rules.settleWaits) return go('does not settle', end)
  const begin = go('begins to watch the fleet', (next, mine) => {
    mine.round = 0
    if (!mine.needsPromote) mine.newEpoch = next.active.epoch
    for (const process of next.processes) process.seen = null
  })
  if (rotation.round === null) return begin
  const look = go('looks at the fleet', (next, mine) => {
    if (lookAt(next, mine, bounds).done) end(next, mine)
  })
  return [...begin, ...look]
}

function censusSteps(state: State, bounds: Bounds, at: number, from: number, go: Go): Step[] {
  if (!bounds.rules.tailSweep)
    return go('ends without a tail', (next) => end(next, bounds, at, true))
  if (censusOf(state, from) === 0) {
    return go('counts nothing', (next, mine) => {
      mine.zeros += 1
      if (mine.zeros === 2) return end(next, bounds, at, true)
      return null
    })
  }
  return go('counts a late one, sweeps the tail', (next, mine) => {
    Object.assign(mine, { step: 'tail', zeros: 0 })
    plan(next, at)
  })
}

/**
 * store/rotation-marks.ts, `markRotation` and `takeOverMark`: filter "canary, no removal, not destroyed, unmarked or the
 * mark of one whose workflow is gone", which is ended first. Then `closeRanges('all')`, and verify asks.
 */
function mark(next: State, bounds: Bounds, at: number): void {
  const rotation = rotationOf(next, at)
  const { marks, closeRanges } = bounds.rules
  rotation.epoch = next.active.epoch
  if (marks) {
    for (const version of bounds.rotations[at] ?? []) {
      const row = rowOf(next, version)
      if (row.removal !== 0 || row.destroyed) {
        end(next, bounds, at, false)
        return
      }
      if (row.mark !== 0 && row.mark !== at + 1) rotationOf(next, row.mark - 1).ended = true
      row.mark = at + 1
    }
    conflictWith(next, ['promote', 'request', 'destroy'])
  }
  if (closeRanges) for (const range of next.ranges) range.closed = true
  rotation.step = 'verify'
  if (bounds.processes.length > 0) ask(next, at, bounds.rotations[at]?.[1] ?? 0)
}

/**
 * store/proof-question.ts, `askForProof`, and `setQuestion` in the rotation's row, which promote writes too. In the product
 * a question closes by time; here it stays open until the rotation asks again, so that more nonces count, not fewer.
 */
function ask(next: State, at: number, target: number): void {
  const rotation = rotationOf(next, at)
  Object.assign(rotation, { nonce: next.nextNonce, askedAge: 0 })
  next.questions = [{ nonce: next.nextNonce, target }]
  next.nextNonce += 1
  for (const process of next.processes) {
    if (process.loss !== null) process.loss = { ...process.loss, isAsked: true }
  }
  conflictWith(next, ['promote'])
}

/** `keyturn verify` of version 1: while the rotation's question is open, the new one names all versions. */
export function verifySteps(state: State): Step[] {
  if (state.verifies === 0) return []
  return [
    step(state, 'somebody asks for a proof of version 1', (next) => {
      const isOpen = next.questions.some(({ target }) => target !== 1)
      next.questions.push({ nonce: next.nextNonce, target: isOpen ? 0 : 1 })
      next.nextNonce += 1
      next.verifies -= 1
    }),
  ]
}

/**
 * activities/finish-rotation.ts: closes ranges, records by the mark when the old version was left, ends the row, removes
 * the marks.
 */
export function end(next: State, bounds: Bounds, at: number, settled: boolean): string | null {
  const [from = 0] = bounds.rotations[at] ?? []
  const rotation = rotationOf(next, at)
  if (bounds.rules.closeRanges) {
    for (const range of next.ranges) if (range.rotation === at) range.closed = true
  }
  if (settled) {
    if (!bounds.rules.marks || rowOf(next, from).mark === at + 1) rowOf(next, from).left = true
    if (next.active.v !== from) next.leftForGood[from] = true
  }
  Object.assign(rotation, { step: 'gone', ended: true, round: null })
  for (const row of next.rows) if (row.mark === at + 1) row.mark = 0
  for (const process of next.processes) process.seen = null
  conflictWith(next, ['promote', 'request', 'destroy'])
  tell(next, bounds)
  const remaining = censusOf(next, from)
  if (!settled || remaining === 0) return null
  return `rotation ${at + 1} completed with ${remaining} envelopes under version ${from}`
}

/** store/promote.ts: what its transaction reads in its snapshot. Null when it is refused. */
export function openPromote(
  state: State,
  bounds: Bounds,
  { by, epoch }: Transaction,
): { epoch: number } | 'done' | null {
  const { rules } = bounds
  const [from = 0, to = 0] = bounds.rotations[by] ?? []
  const { active } = state
  const rotation = rotationOf(state, by)
  if (rules.rotationRow && active.by === by + 1 && active.v === to) return 'done'
  if (rules.rotationRow && (rotation.ended || rotation.promoted)) return null
  const isMarked = (version: number) => rowOf(state, version).mark === by + 1
  if (rules.marks && rules.rotationRow && !(isMarked(from) && isMarked(to))) return null
  if (rowOf(state, to).removal !== 0 || rowOf(state, to).destroyed) return null
  if (rules.epochOfPreflight && (active.v !== from || active.epoch !== epoch)) return null
  if (bounds.processes.length > 0) {
    if (isOld(bounds, rotation)) return null
    const asked = { nonces: noncesOf(state, bounds, rotation, to), met: null }
    if (provenInAll(heartbeatsOf(state, bounds), to, asked) !== null) return null
  }
  return { epoch: rules.epochOfPreflight ? epoch : active.epoch }
}

export function commitPromote(
  next: State,
  bounds: Bounds,
  { by, epoch }: Transaction,
): string | null {
  const [from = 0, to = 0] = bounds.rotations[by] ?? []
  const rotation = rotationOf(next, by)
  next.active = { v: to, epoch: epoch + 1, by: by + 1 }
  Object.assign(rowOf(next, to), { activated: true, left: false, leftEpoch: 0 })
  Object.assign(rowOf(next, from), { left: false, leftEpoch: epoch + 1 })
  Object.assign(rotation, { promoted: true, newEpoch: epoch + 1 })
  // Only a rotation that has not ended may make a left version active again.
  if (!rotation.ended) next.leftForGood[to] = false
  if (rotation.step === 'promote') rotation.step = 'plan'
  rotation.askedAge = 0
  tell(next, bounds)
  conflictWith(next, bounds.rules.marks ? ['promote', 'request', 'destroy'] : ['promote'])
  return lostBeforeIn(next, bounds, to)
}

/** A live process that had lost the key before it was asked, so that its answer proves nothing. */
function lostBeforeIn({ processes }: State, bounds: Bounds, to: number): string | null {
  const at = processes.findIndex(({ doc, loss }) => {
    const isLive = doc !== null && doc.age <= bounds.lease
    return isLive && loss?.version === to && loss.isAsked
  })
  return at < 0 ? null : `version ${to} was made active, whose key app ${at} had lost before it was asked` // prettier-ignore
}

export function transaction(kind: Transaction['kind'], by: number, epoch: number): Transaction {
  return { kind, by, epoch, guardRun: 0, open: false, conflict: false }
}

/**
 * `insertRanges`: filtered by the rotation's row, which has not ended. A closed range stays closed, so it is dropped here.
 */
function plan(next: State, at: number): void {
  const rotation = rotationOf(next, at)
  next.ranges = next.ranges.filter(({ closed }) => !closed)
  next.ranges.push({ rotation: at, pass: rotation.passes, attempt: 0, cursor: 0, closed: false })
  rotation.passes += 1
}

export function rotationOf(state: State, at: number): Rotation {
  const rotation = state.rotations[at]
  if (rotation === undefined) throw new Error(`no rotation ${at}`)
  return rotation
}
