import type { Envelope, Process, Rotation, RotationStep, Row, State, Worker } from './state.ts'

/**
 * A state as whole numbers, equal for states that behave the same. For the numbers of wraps and DEKs only equality matters,
 * so they are renumbered in the order of their first use.
 */
export function fingerprint(state: State): number[] {
  const out: number[] = []
  const names = {
    wrap: new Map<number, number>(),
    dek: new Map<number, number>(),
    nonce: new Map([[0, 0]]),
  }
  const { active, removal } = state
  out.push(active.v, active.epoch, active.by, state.fenced, bits(state.leftForGood))
  out.push(removal.request, removalSteps.indexOf(removal.step), removal.guardRun, +removal.passed)
  for (const envelope of state.envelopes) addEnvelope(out, envelope, names)
  for (const row of state.rows) addRow(out, row)
  for (const rotation of state.rotations) addRotation(out, rotation, names)
  for (const { nonce, target } of state.questions) out.push(nameOf(nonce, names.nonce), target)
  out.push(mark, state.verifies, state.entries, state.odds, bits(state.lostKeys.map(() => true)))
  if (typeof state.stray === 'string') out.push(state.stray.length)
  else addEnvelope(out, state.stray, names)
  addDump(out, state, names)
  for (const { kind, by, guardRun, epoch, open, conflict } of state.transactions) {
    out.push(kind.length, by, guardRun, epoch, bits([open, conflict]))
  }
  out.push(mark)
  for (const { rotation, pass, attempt, cursor, closed } of state.ranges) {
    out.push(rotation, pass, attempt, cursor, +closed)
  }
  out.push(mark)
  for (const process of state.processes) addProcess(out, process, names)
  for (const worker of state.workers) addWorker(out, worker, names.wrap)
  return out
}

interface Names {
  wrap: Map<number, number>
  dek: Map<number, number>
  /** 0 means no nonce. */
  nonce: Map<number, number>
}

/** Between lists whose length varies. */
const mark = -7
const nothing = -1

const removalSteps = ['idle', 'asked', 'pending', 'checking', 'counting', 'passed', 'over']
const rotationSteps: RotationStep[] = [
  ...(['idle', 'routed', 'verify', 'promote', 'plan', 'sweep'] as const),
  ...(['settle', 'census', 'tail', 'gone'] as const),
]

function addRow(out: number[], row: Row): void {
  out.push(row.mark, row.removal, row.undone, row.guardRun, row.leftEpoch)
  out.push(bits([row.destroyed, row.activated, row.left]))
}

/** The state that may be restored, and the one that was. */
function addDump(out: number[], { dump, restore }: State, names: Names): void {
  out.push(['not yet', 'done', 'declared'].indexOf(restore))
  if (dump === null) {
    out.push(nothing)
    return
  }
  out.push(dump.active.v, dump.active.epoch, dump.active.by, dump.fenced, dump.entries)
  out.push(bits(dump.leftForGood))
  for (const envelope of dump.envelopes) addEnvelope(out, envelope, names)
  for (const row of dump.rows) addRow(out, row)
}

function addRotation(out: number[], rotation: Rotation, names: Names): void {
  const { step, ended, promoted, needsPromote, settled } = rotation
  const { epoch, newEpoch, round, zeros, passes } = rotation
  out.push(rotationSteps.indexOf(step), bits([ended, promoted, needsPromote, settled]))
  out.push(epoch, newEpoch, round ?? nothing, zeros, passes)
  out.push(nameOf(rotation.nonce, names.nonce), rotation.askedAge)
}

function addProcess(out: number[], process: Process, names: Names): void {
  const { active, epoch, lease, beat, doc, seen, saved } = process
  out.push(
    bits([process.alive, process.isRestored, process.isBehind]),
    active,
    epoch,
    lease ?? nothing,
  )
  out.push(process.seals, process.copies, process.age?.entries ?? nothing)
  out.push(+(process.age?.restored ?? false))
  if (beat === null) out.push(nothing)
  else {
    const { v, epoch } = beat.read ?? { v: 0, epoch: 0 }
    out.push(beat.sent ?? mark, +beat.written, v, epoch)
  }
  if (doc === null) out.push(nothing)
  else {
    out.push(doc.age, doc.current, doc.epoch, +doc.isNew)
    addAnswers(out, doc.answers, names)
    out.push(bits([1, 2].map((version) => doc.loaded.includes(version))))
  }
  if (seen === null) out.push(nothing)
  // It does not matter which of the two times was seen last, only whether the next one is the same.
  else out.push(seen.age, seen.epoch, +seen.gone)
  addHand(out, process.hand, names)
  addQuestion(out, process, names)
  const { loss, proofs } = process
  out.push(proofs[1] ?? nothing, proofs[2] ?? nothing)
  if (loss === null) out.push(nothing)
  else out.push(loss.version, loss.age, bits([loss.isNoticed, loss.isAsked]))
  if (saved === null) out.push(nothing)
  else {
    out.push(saved.active, saved.epoch, saved.lease ?? nothing)
    addHand(out, saved.hand, names)
    addQuestion(out, saved, names)
  }
}

/** The question that a process has read, and its answers. */
function addQuestion(
  out: number[],
  { question, answers }: Pick<Process, 'question' | 'answers'>,
  names: Names,
): void {
  if (question === null) out.push(nothing)
  else out.push(nameOf(question.nonce, names.nonce), question.target)
  addAnswers(out, answers, names)
}

function addAnswers(out: number[], [, one, two]: Process['answers'], names: Names): void {
  out.push(nameOf(one, names.nonce), nameOf(two, names.nonce))
}

function addHand(out: number[], hand: Process['hand'], names: Names): void {
  if (hand === null) {
    out.push(nothing)
    return
  }
  out.push(hand.at)
  addEnvelope(out, hand.envelope, names)
}

function addWorker(out: number[], worker: Worker | null, wraps: Map<number, number>): void {
  if (worker === null) {
    out.push(nothing)
    return
  }
  const { rotation, pass, attempt, cursor, page, half } = worker
  out.push(rotation, pass, attempt, cursor, +half)
  if (page === null) out.push(nothing)
  else out.push(page.cursor, page.id === null ? mark : nameOf(page.id, wraps))
}

function addEnvelope(out: number[], { v, gen, wrapped, id, odd }: Envelope, names: Names): void {
  out.push(
    odd === true ? -v : v,
    nameOf(gen, names.dek),
    nameOf(wrapped, names.dek),
    nameOf(id, names.wrap),
  )
}

function nameOf(value: number, names: Map<number, number>): number {
  const there = names.get(value)
  if (there !== undefined) return there
  names.set(value, names.size)
  return names.size - 1
}

function bits(flags: readonly boolean[]): number {
  return flags.reduce((sum, flag, at) => sum + (flag ? 2 ** at : 0), 0)
}
