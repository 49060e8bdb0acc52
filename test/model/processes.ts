import { isLoadable } from '../../protocol/version-state.ts'
import { mayWrap, versionsOf } from './facts.ts'
import { step } from './state.ts'
import type { Bounds, Process, State, Step } from './state.ts'

/**
 * Applications (keyring/member.ts, keyring/seal.ts): a beat is sent, written, and only then `kek_active` is read; a seal
 * is checked by the lease; what was sealed may be written at any time later, even when its process has died (an outbox).
 * A worker's own membership is the same code.
 */
export function processSteps(state: State, bounds: Bounds): Step[] {
  return state.processes.flatMap((process, at) => [
    ...lifeSteps(state, bounds, at, process),
    ...beatSteps(state, bounds, at, process),
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
    })
  }
  if (process.doc !== null && (bounds.ttl || process.doc.age > bounds.lease)) {
    add('loses its heartbeat document (TTL)', (next) => void (next.doc = null))
  }
  if (bounds.processes[at]?.restores === true && process.alive && !process.isRestored) {
    const { active, epoch, lease, hand, saved } = process
    if (saved === null) {
      add('is saved as a snapshot', (next) => void (next.saved = { active, epoch, lease, hand }))
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
        processOf(next, at).beat = { sent: null, written: false, isAsked: true, read }
      }),
    ]
  }
  if (beat === null || beat.sent === null) {
    const read = beat?.read ?? null
    return [
      step(state, `app ${at} sends a heartbeat`, (next) => {
        processOf(next, at).beat = { sent: 0, written: false, isAsked: true, read }
      }),
    ]
  }
  if (!beat.written) {
    const loadable = versionsOf(state).filter((row) => isLoadable(row.state))
    const keys = bounds.processes[at]?.keys ?? []
    const loaded = loadable.map(({ version }) => version).filter((v) => keys.includes(v))
    return [
      step(state, `its heartbeat is written (app ${at}, epoch ${process.epoch})`, (next) => {
        const { active: current, epoch } = process
        const { isAsked } = beat
        const change = processOf(next, at)
        change.beat = { ...beat, written: true }
        change.doc = { age: 0, current, epoch, loaded, isNew: true, isAsked }
      }),
    ]
  }
  const { v, epoch } = beat.read ?? state.active
  return [
    step(state, `app ${at} follows kek_active: version ${v}, epoch ${epoch}`, (next) => {
      Object.assign(processOf(next, at), { active: v, epoch, lease: beat.sent, beat: null })
    }),
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
  const isAble = process.alive && v !== 0 && bounds.processes[at]?.keys.includes(v) === true
  if (isAble && process.seals > 0 && mayWrap(process, bounds)) {
    for (let place = 0; place < Math.max(1, bounds.envelopes); place += 1) {
      steps.push(
        step(state, `app ${at} seals under version ${v}`, (next) => seal(next, at, v, place)),
      )
    }
  }
  if (process.alive && process.copies > 0) {
    for (const [place, envelope] of state.envelopes.entries()) {
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

function seal(next: State, at: number, v: number, place: number): string | null {
  const process = processOf(next, at)
  if (next.leftForGood[v] === true && !process.isRestored) {
    return `app ${at} wrapped under version ${v} after settle`
  }
  // A fleet without records: only whether it may wrap is of interest.
  if (next.envelopes.length === 0) return null
  const gen = next.nextGen
  process.seals -= 1
  process.hand = { at: place, envelope: { v, gen, wrapped: gen, id: next.nextId } }
  next.nextGen += 1
  next.nextId += 1
  return null
}

/** Time goes on for everybody. */
export function tick(state: State, bounds: Bounds): Step {
  const older = (age: number) => Math.min(age + 1, bounds.lease)
  return step(state, 'time goes on', (next) => {
    for (const process of next.processes) {
      const { lease, beat, doc, seen } = process
      if (lease !== null) process.lease = older(lease)
      if (beat !== null && beat.sent !== null) process.beat = { ...beat, sent: older(beat.sent) }
      if (doc !== null) process.doc = { ...doc, age: Math.min(doc.age + 1, bounds.lease + 1) }
      if (seen !== null) process.seen = { ...seen, age: older(seen.age) }
    }
    for (const rotation of next.rotations) {
      if (rotation.round !== null) rotation.round = older(rotation.round)
    }
  })
}

export function processOf(state: State, at: number): Process {
  const process = state.processes[at]
  if (process === undefined) throw new Error(`no process ${at}`)
  return process
}
