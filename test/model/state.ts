import type { Step as SearchStep } from './explore.ts'
import type { Dump } from './restores.ts'
import type { Rules } from './rules.ts'

/**
 * The state of the model: the keystore's documents, the processes of a fleet, the workers of a sweep, and the steps of
 * the workflows, as plain data without time. Moments are ages in ticks, capped where no rule can tell them apart, so
 * that the number of states is finite. A frozen process is one that takes no step: the search tries every such pause.
 */

export interface Bounds {
  readonly rules: Rules
  /** A lease in ticks. */
  readonly lease: number
  readonly processes: readonly ProcessBound[]
  readonly envelopes: number
  /** Workers of the sweep; each holds one page of one envelope. */
  readonly workers: number
  /** Attempts that one range may see: takeovers of workers that froze or died. */
  readonly attempts: number
  /** Rotations in their order; each is started once. */
  readonly rotations: readonly (readonly [from: number, to: number])[]
  /** Whether a rotation can be cancelled, at each of its steps. */
  readonly cancels: boolean
  /** Whether a rotation may begin when its B is active already, which finishes one that was cancelled. */
  readonly finishes: boolean
  /** Whether a workflow can be ended from outside (terminated), so that nothing of its end is done. */
  readonly terminates: boolean
  /** Attempts of the promote activity that may be on their way at once. */
  readonly promotes: number
  /** Version whose removal is asked for, and how often. */
  readonly removal: { readonly version: number; readonly requests: number } | null
  /** Whether somebody calls the removal's steps beside its workflow. */
  readonly forges: boolean
  /** Whether somebody calls promote and finish beside the rotation's workflow, or behind its end. */
  readonly forgesRotation: boolean
  /** Whether a worker whose keystore is a copy takes work from the same queues. */
  readonly copied: boolean
  /** Whether such a copy, once it was declared, destroys keys in the token that both use. */
  readonly sharedToken: boolean
  /**
   * Whether an older state of the database is put back in place, once: one from between two rotations, or the first one;
   * then only the first rotation begins before that.
   */
  readonly restore: 'first' | 'any' | null
  /** How often an envelope may become odd: its version is overwritten with what is none. */
  readonly odds: number
  /** Whether somebody outside of the fleet reads a record, and writes it back later, once. */
  readonly strays: boolean
  /** Whether applications may die. One that only falls silent for ever takes no step. */
  readonly deaths: boolean
  /** Questions of others, of version 1: somebody runs `verify` beside the rotation. */
  readonly verifies: number
  /** Whether heartbeat documents may vanish at any moment: TTL by a clock that jumped. */
  readonly ttl: boolean
}

export interface ProcessBound {
  readonly kind: 'host' | 'ephemeral'
  /** Whether it runs from the beginning; else it may come up at any time. */
  readonly born: boolean
  /** Versions whose key it has. */
  readonly keys: readonly number[]
  /** Envelopes that it seals, and old copies that it writes back. */
  readonly seals: number
  readonly copies: number
  /** Whether it can be restored from a snapshot of its machine, once. */
  readonly restores: boolean
  /** Whether the token may lose one of its keys, or have another one under the same label, without a word. */
  readonly loses: boolean
}

export interface Envelope {
  v: number
  /** Which DEK the data is under: grows with each seal of an application. */
  gen: number
  /** Which DEK is in the wrap. */
  wrapped: number
  /** Names the bytes of the wrap: no two wraps are equal. */
  id: number
  /** Its version cannot be read; it still needs `v`. */
  odd?: boolean
}

export interface HeartbeatDocument {
  age: number
  current: number
  epoch: number
  loaded: readonly number[]
  answers: Answers
  /** Written since the observer of settle looked. */
  isNew: boolean
}

/** By version: the nonce of the question for which it was proven last; 0: for none. */
export type Answers = readonly [0, number, number]

export interface Question {
  nonce: number
  /** 0: each version. */
  target: number
}

export interface Process {
  alive: boolean
  /** 0: not known. */
  active: number
  epoch: number
  /** Age of the last successful heartbeat's sending; null: none. */
  lease: number | null
  /** A beat on its way: since when it was sent, whether it is written, and what was read too early in a broken one. */
  beat: Beat | null
  /** An envelope that is sealed or copied, and not written yet. */
  hand: { at: number; envelope: Envelope } | null
  seals: number
  copies: number
  doc: HeartbeatDocument | null
  /** What the observer of settle has of it; `bit` tells a changed document from an unchanged one. */
  seen: { bit: number; gone: boolean; age: number; epoch: number } | null
  /** The question that it read last. */
  question: Question | null
  answers: Answers
  /** Age of the last proof by version; null: none. Kept up only where keys are lost. */
  proofs: readonly [null, number | null, number | null]
  loss: Loss | null
  /** What it has seen of the keystore's age beside the epoch, and whether it finds it older than that. */
  age: { entries: number; restored: boolean } | null
  isBehind: boolean
  isRestored: boolean
  saved: Pick<Process, 'active' | 'epoch' | 'lease' | 'hand' | 'question' | 'answers'> | null
}

/** A key that the token does not have any more, or has another one for. */
export interface Loss {
  version: number
  age: number
  /** A proof has failed: the process knows. */
  isNoticed: boolean
  /** It was there before the question that the rotation goes by was asked. */
  isAsked: boolean
}

export interface Beat {
  /** Age of its sending; null: not yet. */
  sent: number | null
  written: boolean
  /** What was read of `kek_active` before the heartbeat was written: only where the order is wrong. */
  read: { v: number; epoch: number } | null
}

export interface Row {
  mark: number
  /** Request id of the removal; 0: none. */
  removal: number
  undone: number
  guardRun: number
  destroyed: boolean
  activated: boolean
  left: boolean
  leftEpoch: number
}

export type RotationStep =
  | 'idle'
  | 'routed'
  | 'verify'
  | 'promote'
  | 'plan'
  | 'sweep'
  | 'settle'
  | 'census'
  | 'tail'
  | 'gone'

export interface Rotation {
  step: RotationStep
  /** Its row. */
  ended: boolean
  promoted: boolean
  /** As preflight saw it. */
  epoch: number
  needsPromote: boolean
  /** Of its question; 0: it has not asked. */
  nonce: number
  /** Age of its question, until promote. */
  askedAge: number
  /** What promote made; settle waits for it. */
  newEpoch: number
  /** Age of the round of settle that goes on; null: none does. */
  round: number | null
  /** A round has ended: the fleet is past the switch. */
  settled: boolean
  zeros: number
  /** Passes of the sweep that were planned. */
  passes: number
}

export interface Range {
  rotation: number
  /** 0, then one for each pass of the tail. */
  pass: number
  attempt: number
  cursor: number
  closed: boolean
}

export interface Worker {
  rotation: number
  pass: number
  attempt: number
  cursor: number
  /** A page that was read and wrapped: the envelope's wrap as it was; null: it named another version. */
  page: { cursor: number; id: number | null; gen: number } | null
  /** Only where pages are written without the range's document: the updates are, the document is not yet. */
  half: boolean
}

/** A transaction on its way: sent, then reading at one moment, then committed, unless what it writes was changed. */
export interface Transaction {
  kind: 'promote' | 'request' | 'destroy'
  /** Rotation, or request id. */
  by: number
  guardRun: number
  epoch: number
  open: boolean
  conflict: boolean
}

export interface Removal {
  request: number
  step: 'idle' | 'asked' | 'pending' | 'checking' | 'counting' | 'passed' | 'over'
  guardRun: number
  /** Whether the guards that were read first all passed. */
  passed: boolean
}

export interface State {
  active: { v: number; epoch: number; by: number }
  rows: Row[]
  fenced: number
  rotations: Rotation[]
  ranges: Range[]
  workers: (Worker | null)[]
  processes: Process[]
  envelopes: Envelope[]
  transactions: Transaction[]
  removal: Removal
  /** The open questions; the one that stands is the last. */
  questions: Question[]
  verifies: number
  /** Entries of the audit, kept up only where the database is put back. */
  entries: number
  dump: Dump | null
  restore: 'not yet' | 'done' | 'declared'
  odds: number
  /** What somebody outside of the fleet has in hand; `done`: written, or refused. */
  stray: Envelope | 'none' | 'done'
  /** Versions whose key in the token a copy has destroyed. */
  lostKeys: readonly number[]
  nextId: number
  nextGen: number
  nextNonce: number
  /** For the invariants only: version → it was left, settle ended, and it has not become active again. */
  leftForGood: boolean[]
}

export type Step = SearchStep<State>

export function initialState(bounds: Bounds): State {
  const row = (): Row => ({
    ...{ mark: 0, removal: 0, undone: 0, guardRun: 0, destroyed: false },
    ...{ activated: false, left: false, leftEpoch: 0 },
  })
  const rows = [row(), row(), row()]
  if (rows[1] !== undefined) rows[1].activated = true
  return {
    active: { v: 1, epoch: 1, by: 0 },
    rows,
    fenced: 0,
    rotations: bounds.rotations.map(() => ({
      ...{ step: 'idle', ended: false, promoted: false, epoch: 0, needsPromote: false },
      ...{ nonce: 0, askedAge: 0 },
      ...{ newEpoch: 0, round: null, settled: false, zeros: 0, passes: 0 },
    })),
    ranges: [],
    workers: Array.from({ length: bounds.workers }, () => null),
    processes: bounds.processes.map((bound) => newProcess(bound)),
    envelopes: Array.from({ length: bounds.envelopes }, (_, at) => ({
      ...{ v: 1, gen: at + 1, wrapped: at + 1, id: at + 1 },
    })),
    transactions: [],
    removal: { request: 0, step: 'idle', guardRun: 0, passed: false },
    questions: [],
    verifies: bounds.verifies,
    ...{ entries: 0, dump: null, restore: 'not yet', odds: bounds.odds, lostKeys: [] },
    ...{ stray: bounds.strays ? 'none' : 'done' },
    nextId: bounds.envelopes + 1,
    nextGen: bounds.envelopes + 1,
    nextNonce: 1,
    leftForGood: [false, false, false],
  }
}

export const noAnswers: Answers = [0, 0, 0]
export const noProofs = [null, null, null] as const

function newProcess({ born, keys, seals, copies }: ProcessBound): Process {
  const doc: HeartbeatDocument = {
    ...{ age: 0, current: 1, epoch: 1, loaded: keys, answers: noAnswers, isNew: true },
  }
  return {
    ...{ alive: born, active: born ? 1 : 0, epoch: born ? 1 : 0, lease: born ? 0 : null },
    ...{ beat: null, hand: null, seals, copies, doc: born ? doc : null, seen: null },
    ...{ question: null, answers: noAnswers, proofs: born ? [null, 0, 0] : noProofs, loss: null },
    ...{ age: born ? { entries: 0, restored: false } : null, isBehind: false },
    ...{ isRestored: false, saved: null },
  }
}

/** Deep enough: steps replace what is nested in it, they never write into it. */
export function copyOf(state: State): State {
  return {
    ...state,
    rows: state.rows.map((row) => ({ ...row })),
    rotations: state.rotations.map((rotation) => ({ ...rotation })),
    ranges: state.ranges.map((range) => ({ ...range })),
    workers: state.workers.slice(),
    processes: state.processes.map((process) => ({ ...process })),
    envelopes: state.envelopes.slice(),
    transactions: state.transactions.map((transaction) => ({ ...transaction })),
    removal: { ...state.removal },
    questions: state.questions.slice(),
    leftForGood: state.leftForGood.slice(),
  }
}

/** A step from the state: `change` writes into a copy, and says what it has broken, if anything. */
export function step(state: State, name: string, change: (next: State) => unknown): Step {
  const next = copyOf(state)
  const said = change(next)
  return { name, state: next, breaks: typeof said === 'string' ? said : null }
}

export function rowOf(state: State, version: number): Row {
  const row = state.rows[version]
  if (row === undefined) throw new Error(`no version ${version}`)
  return row
}

/** What an open transaction that writes this too will find when it commits. */
export function conflictWith(state: State, kinds: readonly Transaction['kind'][]): void {
  for (const transaction of state.transactions) {
    if (transaction.open && kinds.includes(transaction.kind)) transaction.conflict = true
  }
}
