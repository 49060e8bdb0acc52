import type { Step as SearchStep } from './explore.ts'
import type { Dump } from './restores.ts'
import type { Rules } from './rules.ts'

/**
 * The state of the model: the keystore's documents, the processes of a fleet, the workers of a sweep, and the steps of the
 * workflows, as plain data without time. Times are ages in ticks, capped where no rule can tell them apart, so that the
 * number of states is finite. A frozen process is one that takes no step; the search tries every such pause.
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
  /** Whether a rotation may begin when its target is already active; it finishes one that was cancelled. */
  readonly finishes: boolean
  /** Whether a workflow can be terminated, so that its finish never runs. */
  readonly terminates: boolean
  /** Attempts of the promote activity that may run at the same time. */
  readonly promotes: number
  /** The version to remove, and how often its removal is requested. */
  readonly removal: { readonly version: number; readonly requests: number } | null
  /** Whether the removal's steps are also forged. */
  readonly forges: boolean
  /** Whether promote and finish are also forged, during the rotation's workflow or after its end. */
  readonly forgesRotation: boolean
  /** Whether a worker whose keystore is a copy takes work from the same queues. */
  readonly copied: boolean
  /** Whether such a copy, once declared, destroys keys in the shared token. */
  readonly sharedToken: boolean
  /**
   * Whether the database is restored once to an older state: any state between two rotations, or only the first one; then
   * only the first rotation begins before the restore.
   */
  readonly restore: 'first' | 'any' | null
  /** How often an envelope may become odd: its version is overwritten with an invalid value. */
  readonly odds: number
  /** Whether a program outside the fleet reads a record and writes it back later, once. */
  readonly strays: boolean
  /** Whether applications may die. One that is only silent forever takes no step. */
  readonly deaths: boolean
  /** Other questions, of version 1: how often `verify` is run beside the rotation. */
  readonly verifies: number
  /** Whether heartbeat documents may vanish at any moment, as by TTL after the clock jumped. */
  readonly ttl: boolean
}

export interface ProcessBound {
  readonly kind: 'host' | 'ephemeral'
  /** Whether it runs from the beginning; otherwise it may start at any time. */
  readonly born: boolean
  /** Versions whose key it has. */
  readonly keys: readonly number[]
  /** How many envelopes it seals or old copies it writes back. */
  readonly seals: number
  readonly copies: number
  /** Whether it can be restored from a snapshot of its machine, once. */
  readonly restores: boolean
  /** Whether the token may lose one of its keys, or have another one under the same label, without an error. */
  readonly loses: boolean
}

export interface Envelope {
  v: number
  /** Number of the DEK that encrypts the data; it grows with each seal. */
  gen: number
  /** Number of the DEK in the wrap. */
  wrapped: number
  /** Stands for the bytes of the wrap: no two wraps are equal. */
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

/** By version: the nonce of the last question that was answered with a proof; 0 for none. */
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
  /** A heartbeat in flight. */
  beat: Beat | null
  /** An envelope that was sealed or copied and is not written yet. */
  hand: { at: number; envelope: Envelope } | null
  seals: number
  copies: number
  doc: HeartbeatDocument | null
  /** What the observer of settle last saw of it; `bit` differs when the document has changed. */
  seen: { bit: number; gone: boolean; age: number; epoch: number } | null
  /** The question that it read last. */
  question: Question | null
  answers: Answers
  /** Age of the last proof by version; null for none. Maintained only when keys can be lost. */
  proofs: readonly [null, number | null, number | null]
  loss: Loss | null
  /** What it has seen of the keystore's state besides the epoch: audit entries, and a restore. */
  age: { entries: number; restored: boolean } | null
  isBehind: boolean
  isRestored: boolean
  saved: Pick<Process, 'active' | 'epoch' | 'lease' | 'hand' | 'question' | 'answers'> | null
}

/** A key that the token has lost or replaced. */
export interface Loss {
  version: number
  age: number
  /** Whether a proof has failed, so that the process knows. */
  isNoticed: boolean
  /** Whether the key was lost before the rotation's question was asked. */
  isAsked: boolean
}

export interface Beat {
  /** Age since it was sent; null before that. */
  sent: number | null
  written: boolean
  /** `kek_active` as read before the heartbeat was written; only when the rule `heartbeatFirst` is left out. */
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
  /** Whether its row has ended. */
  ended: boolean
  promoted: boolean
  /** As preflight saw it. */
  epoch: number
  needsPromote: boolean
  /** The nonce of its question; 0 before it has asked. */
  nonce: number
  /** Age of its question, until promote. */
  askedAge: number
  /** The epoch that promote made; settle waits for it. */
  newEpoch: number
  /** Age of the current round of settle; null when there is none. */
  round: number | null
  /** Whether a round has ended: the fleet has settled. */
  settled: boolean
  zeros: number
  /** How many passes of the sweep were planned. */
  passes: number
}

export interface Range {
  rotation: number
  /** 0 for the sweep, then one for each pass of the tail. */
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
  /**
   * A page that was read and wrapped, with the id of the wrap that it read; null when the envelope named another version.
   */
  page: { cursor: number; id: number | null; gen: number } | null
  /** The updates are written and the range document is not yet; only when the rule `rangeDocument` is left out. */
  half: boolean
}

/** A running transaction: sent, then its snapshot read, then committed, unless a document that it writes was changed. */
export interface Transaction {
  kind: 'promote' | 'request' | 'destroy'
  /** The rotation's number, or the request's id. */
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
  /** Whether all guards that were read first passed. */
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
  /** The open questions; the last one is current. */
  questions: Question[]
  verifies: number
  /** Number of audit entries; maintained only when the database can be restored. */
  entries: number
  dump: Dump | null
  restore: 'not yet' | 'done' | 'declared'
  odds: number
  /** The envelope that a program outside the fleet has read; `done` once it was written or refused. */
  stray: Envelope | 'none' | 'done'
  /** Versions whose key in the token a copy has destroyed. */
  lostKeys: readonly number[]
  nextId: number
  nextGen: number
  nextNonce: number
  /** By version, for the invariants only: settle has ended for it, and it has not become active again. */
  leftForGood: boolean[]
}

export type Step = SearchStep<State>

export function initialState(bounds: Bounds): State {
  const row = (): Row => ({
    mark: 0,
    removal: 0,
    undone: 0,
    guardRun: 0,
    destroyed: false,
    activated: false,
    left: false,
    leftEpoch: 0,
  })
  const rows = [row(), row(), row()]
  if (rows[1] !== undefined) rows[1].activated = true
  return {
    active: { v: 1, epoch: 1, by: 0 },
    rows,
    fenced: 0,
    rotations: bounds.rotations.map(() => ({
      step: 'idle',
      ended: false,
      promoted: false,
      epoch: 0,
      needsPromote: false,
      nonce: 0,
      askedAge: 0,
      newEpoch: 0,
      round: null,
      settled: false,
      zeros: 0,
      passes: 0,
    })),
    ranges: [],
    workers: Array.from({ length: bounds.workers }, () => null),
    processes: bounds.processes.map((bound) => newProcess(bound)),
    envelopes: Array.from({ length: bounds.envelopes }, (_, at) => ({
      v: 1,
      gen: at + 1,
      wrapped: at + 1,
      id: at + 1,
    })),
    transactions: [],
    removal: { request: 0, step: 'idle', guardRun: 0, passed: false },
    questions: [],
    verifies: bounds.verifies,
    entries: 0,
    dump: null,
    restore: 'not yet',
    odds: bounds.odds,
    lostKeys: [],
    stray: bounds.strays ? 'none' : 'done',
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
    age: 0,
    current: 1,
    epoch: 1,
    loaded: keys,
    answers: noAnswers,
    isNew: true,
  }
  return {
    alive: born,
    active: born ? 1 : 0,
    epoch: born ? 1 : 0,
    lease: born ? 0 : null,
    beat: null,
    hand: null,
    seals,
    copies,
    doc: born ? doc : null,
    seen: null,
    question: null,
    answers: noAnswers,
    proofs: born ? [null, 0, 0] : noProofs,
    loss: null,
    age: born ? { entries: 0, restored: false } : null,
    isBehind: false,
    isRestored: false,
    saved: null,
  }
}

/** A copy that is deep enough: steps replace nested values and never write into them. */
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

/** A step from the state: `change` writes into a copy, and returns the invariant that it breaks, if any. */
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

/** Marks open transactions of these kinds as in conflict, so that their commit fails. */
export function conflictWith(state: State, kinds: readonly Transaction['kind'][]): void {
  for (const transaction of state.transactions) {
    if (transaction.open && kinds.includes(transaction.kind)) transaction.conflict = true
  }
}
