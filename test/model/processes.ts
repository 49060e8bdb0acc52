import { isLoadable } from '../../protocol/version-state.ts'
import { isProven, mayWrap, versionsOf } from './facts.ts'
import { findsOlder } from './restores.ts'
import { noAnswers, noProofs, step } from './state.ts'
import type { Beat, Bounds, Process, State, Step } from './state.ts'

/**
 * Applications (keyring/member.ts, keyring/seal.ts): a heartbeat is sent and written, and only then `kek_active` is read; a
 * seal needs a valid lease; a sealed envelope may be written at any later time, even after its process has died (an
 * outbox). Workers use the same code.
 */
export function processSteps(state: State, bounds: Bounds): Step[] {
  return state.processes.flatMap((process, at) => [
    ...lifeSteps(state, bounds, at, process),
    ...beatSteps(state, bounds, at, process),
    ...lossSteps(state, bounds, at, process),
    ...writeSteps(state, bounds, at, process),
  ])
}

function lifeSteps(state: State, bounds: Bounds, at: number, process: Process): Step[] {
  const name = `app ${at}`
  const steps: Step[] = []
  const add = (what: string, change: (next: Process) => void) =>
    steps.push(step(state, `${name} ${what}`, (next) => change(processOf(next, at))))
  if (!process.alive && process.doc === null) {
    add('comes up', (next) => void (next.alive = true))
  }
  if (process.alive && bounds.deaths) {
    add('dies', (next) => {
      Object.assign(next, { alive: false, active: 0, epoch: 0, lease: null, beat: null })
      Object.assign(next, { question: null, answers: noAnswers, proofs: noProofs })
      Object.assign(next, { age: null, isBehind: false })
      if (next.loss !== null) next.loss = { ...next.loss, isNoticed: false }
    })
  }
  if (process.doc !== null && (bounds.ttl || process.doc.age > bounds.lease)) {
    add('loses its heartbeat document (TTL)', (next) => void (next.doc = null))
  }
  if (bounds.processes[at]?.restores === true && process.alive && !process.isRestored) {
    const { active, epoch, lease, hand, question, answers, saved } = process
    if (saved === null) {
      const now = { active, epoch, lease, hand, question, answers }
      add('is saved as a snapshot', (next) => void (next.saved = now))
    } else {
      add('is restored from its snapshot', (next) => {
        Object.assign(next, saved, { saved: null, isRestored: true, beat: null })
      })
    }
  }
  return steps
}

function beatSteps(state: State, bounds: Bounds, at: number, process: Process): Step[] {
  const { beat, alive } = process
  if (!alive) return []
  if (beat === null && !bounds.rules.heartbeatFirst) {
    const { v, epoch } = state.active
    return [
      step(state, `app ${at} reads kek_active, too early: version ${v}, epoch ${epoch}`, (next) => {
        const read = { v, epoch }
        processOf(next, at).beat = { sent: null, written: false, read }
      }),
    ]
  }
  if (beat === null || beat.sent === null) {
    const read = beat?.read ?? null
    return [
      step(state, `app ${at} sends a heartbeat`, (next) => {
        const change = processOf(next, at)
        change.beat = { sent: 0, written: false, read }
        for (const version of asked(process)) prove(change, bounds, at, version)
      }),
    ]
  }
  if (!beat.written) {
    const loadable = versionsOf(state).filter((row) => isLoadable(row.state))
    const keys = bounds.processes[at]?.keys ?? []
    const lost = process.loss?.isNoticed === true ? process.loss.version : 0
    const loaded = loadable
      .map(({ version }) => version)
      .filter((version) => keys.includes(version) && version !== lost)
    return [
      step(state, `its heartbeat is written (app ${at}, epoch ${process.epoch})`, (next) => {
        const { active: follows, epoch, answers, isBehind } = process
        const change = processOf(next, at)
        change.beat = { ...beat, written: true }
        const vouches = isBehind ? { current: 0, loaded: [] } : { current: follows, loaded }
        change.doc = { age: 0, epoch, answers, isNew: true, ...vouches }
      }),
    ]
  }
  return [follow(state, bounds, at, beat)]
}

/** keyring/member.ts, `#look`: the process follows what it reads, unless that is older than what it has seen. */
function follow(state: State, bounds: Bounds, at: number, beat: Beat): Step {
  const { v, epoch } = beat.read ?? state.active
  const question = state.questions.at(-1) ?? null
  const renewed = { lease: beat.sent, beat: null }
  if (findsOlder(state, bounds, processOf(state, at))) {
    const isHeeded = bounds.rules.heedsOlder
    const name = `app ${at} finds an older keystore${isHeeded ? '' : ', and goes on'}`
    const other = isHeeded ? { isBehind: true } : { question }
    return step(state, name, (next) => void Object.assign(processOf(next, at), renewed, other))
  }
  const age = { entries: state.entries, restored: state.restore === 'declared' }
  return step(state, `app ${at} follows kek_active: version ${v}, epoch ${epoch}`, (next) => {
    Object.assign(processOf(next, at), renewed, { active: v, epoch, question })
    Object.assign(processOf(next, at), { age, isBehind: false })
  })
}

/** The versions that the process must prove for the question that it has read. */
function asked({ question, answers }: Process): number[] {
  if (question === null) return []
  const named = question.target === 0 ? [1, 2] : [question.target]
  return named.filter((version) => answers[version] !== question.nonce)
}

/** keyring/loaded-keys.ts: opens the canary, wraps and unwraps a nonce. The proof says nothing about later. */
function prove(process: Process, bounds: Bounds, at: number, version: number): void {
  if (bounds.processes[at]?.keys.includes(version) !== true) return
  if (process.loss?.version === version) {
    process.loss = { ...process.loss, isNoticed: true }
    return
  }
  const { question, proofs, answers } = process
  const isNamed = question !== null && [0, version].includes(question.target)
  const nonce = isNamed ? question.nonce : answers[version as 1 | 2]
  process.answers = version === 1 ? [0, nonce, answers[2]] : [0, answers[1], nonce]
  if (!bounds.processes[at].loses) return
  process.proofs = version === 1 ? [null, 0, proofs[2]] : [null, proofs[1], 0]
}

/** The token silently loses a key, or has another one under its label; and a proof before a use. */
function lossSteps(state: State, bounds: Bounds, at: number, process: Process): Step[] {
  const { loses, keys } = bounds.processes[at] ?? { loses: false, keys: [] }
  if (!loses) return []
  const name = `app ${at}`
  const losses = (process.loss === null ? keys : []).map((version) =>
    step(state, `${name} silently loses its key of version ${version}`, (next) => {
      processOf(next, at).loss = { version, age: 0, isNoticed: false, isAsked: false }
    }),
  )
  const { alive, seals, active: v } = process
  if (!alive || seals === 0 || v === 0 || isProven(process, bounds, v)) return losses
  return [
    ...losses,
    step(state, `${name} proves version ${v}, to wrap under it`, (next) =>
      prove(processOf(next, at), bounds, at, v),
    ),
  ]
}

function writeSteps(state: State, bounds: Bounds, at: number, process: Process): Step[] {
  const { hand, active: v } = process
  if (hand !== null) {
    const { envelope } = hand
    const isRefused = state.fenced === envelope.v
    const name = `what app ${at} has in hand, under version ${envelope.v}, is ${isRefused ? 'refused' : 'written'}`
    const write = step(state, name, (next) => {
      processOf(next, at).hand = null
      if (!isRefused) next.envelopes[hand.at] = envelope
    })
    return [write]
  }
  const steps: Step[] = []
  const isAble =
    process.alive && !process.isBehind && v !== 0 && bounds.processes[at]?.keys.includes(v) === true
  if (isAble && process.seals > 0 && mayWrap(process, bounds) && isUsable(process, bounds, at)) {
    for (let place = 0; place < Math.max(1, bounds.envelopes); place += 1) {
      steps.push(
        step(state, `app ${at} seals under version ${v}`, (next) =>
          seal(next, bounds, at, v, place),
        ),
      )
    }
  }
  if (process.alive && process.copies > 0) {
    for (const [place, envelope] of state.envelopes.entries()) {
      if (envelope.odd === true) continue
      const name = `app ${at} reads a record, to write it back later`
      steps.push(
        step(state, name, (next) => {
          const change = processOf(next, at)
          change.copies -= 1
          change.hand = { at: place, envelope }
        }),
      )
    }
  }
  return steps
}

/** A key that failed a proof is not loaded; a key whose last proof is old must be proven first. */
function isUsable(process: Process, bounds: Bounds, at: number): boolean {
  if (bounds.processes[at]?.loses !== true) return true
  const { loss, active: v } = process
  return !(loss?.isNoticed === true && loss.version === v) && isProven(process, bounds, v)
}

function seal(next: State, bounds: Bounds, at: number, v: number, place: number): string | null {
  const process = processOf(next, at)
  if (next.leftForGood[v] === true && !process.isRestored) {
    return `app ${at} wrapped under version ${v} after settle`
  }
  const { loss, proofs } = process
  if (loss?.version === v && loss.age >= bounds.lease) {
    return `app ${at} wrapped under version ${v} a lease after its key was lost`
  }
  if (!bounds.rules.canaryRenews) process.proofs = v === 1 ? [null, 0, proofs[2]] : [null, proofs[1], 0] // prettier-ignore
  // Without records only the permission to wrap is checked.
  if (next.envelopes.length === 0) return null
  const gen = next.nextGen
  process.seals -= 1
  process.hand = { at: place, envelope: { v, gen, wrapped: gen, id: next.nextId } }
  next.nextGen += 1
  next.nextId += 1
  return null
}

/** Time passes for all processes. */
export function tick(state: State, bounds: Bounds): Step {
  const older = (age: number) => Math.min(age + 1, bounds.lease)
  return step(state, 'time goes on', (next) => {
    for (const process of next.processes) {
      const { lease, beat, doc, seen } = process
      if (lease !== null) process.lease = older(lease)
      if (beat !== null && beat.sent !== null) process.beat = { ...beat, sent: older(beat.sent) }
      if (doc !== null) process.doc = { ...doc, age: Math.min(doc.age + 1, bounds.lease + 1) }
      if (seen !== null) process.seen = { ...seen, age: older(seen.age) }
      const { proofs, loss } = process
      const [, one, two] = proofs
      const grown = (age: number | null) => (age === null ? null : older(age))
      // When no key is lost every proof succeeds, so ages of proofs make no difference.
      if (bounds.processes.some(({ loses }) => loses)) {
        process.proofs = [null, grown(one), grown(two)]
      }
      if (loss !== null) process.loss = { ...loss, age: older(loss.age) }
    }
    for (const rotation of next.rotations) {
      if (rotation.round !== null) rotation.round = older(rotation.round)
      const isAsking = rotation.step === 'verify' || rotation.step === 'promote'
      if (isAsking && bounds.processes.length > 0) {
        rotation.askedAge = Math.min(rotation.askedAge + 1, 2 * bounds.lease + 1)
      }
    }
  })
}

export function processOf(state: State, at: number): Process {
  const process = state.processes[at]
  if (process === undefined) throw new Error(`no process ${at}`)
  return process
}
