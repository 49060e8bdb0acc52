import { step } from './state.ts'
import type { Bounds, Range, State, Step, Worker } from './state.ts'

/**
 * Workers of the sweep (sweep/, store/rewrap-ranges.ts, store/page-transaction.ts), with pages of one envelope. A worker
 * that is frozen with a page in flight simply takes no step while another one takes its range; one whose machine was
 * restored after its commit has the page in flight again.
 */
export function sweepSteps(state: State, bounds: Bounds): Step[] {
  return state.workers.flatMap((worker, at) => {
    if (worker === null) return takeSteps(state, bounds, at)
    const die = step(state, `worker ${at} dies`, (next) => void (next.workers[at] = null))
    if (worker.page === null) return [die, read(state, bounds, at, worker)]
    return [die, ...writeSteps(state, bounds, at, worker)]
  })
}

/** `takeRange`: the attempt's number is raised, filtered by the one that was seen and "not closed". */
function takeSteps(state: State, bounds: Bounds, at: number): Step[] {
  return state.ranges.flatMap((range, number) => {
    if (range.closed || range.attempt >= bounds.attempts) return []
    const attempt = range.attempt + 1
    return [
      step(state, `worker ${at} takes range ${number}, attempt ${attempt}`, (next) => {
        const { rotation, pass, cursor } = range
        next.ranges[number] = { ...range, attempt }
        next.workers[at] = { rotation, pass, attempt, cursor, page: null, half: false }
      }),
    ]
  })
}

/** Reads a page and wraps it under B: what it has then is fixed, however long it waits. */
function read(state: State, bounds: Bounds, at: number, worker: Worker): Step {
  const [from] = bounds.rotations[worker.rotation] ?? []
  const envelope = state.envelopes[worker.cursor]
  return step(state, `worker ${at} reads and wraps page ${worker.cursor}`, (next) => {
    const isFound = envelope?.v === from && envelope?.odd !== true
    const id = isFound ? (envelope?.id ?? null) : null
    const page = { cursor: worker.cursor, id, gen: envelope?.wrapped ?? 0 }
    next.workers[at] = { ...worker, page }
  })
}

function writeSteps(state: State, bounds: Bounds, at: number, worker: Worker): Step[] {
  if (!bounds.rules.rangeDocument) return halfSteps(state, bounds, at, worker)
  const name = `worker ${at} commits page ${worker.cursor} (attempt ${worker.attempt})`
  if (!owns(state, worker)) {
    return [step(state, `${name}: refused`, (next) => void (next.workers[at] = null))]
  }
  const commit = (next: State) => {
    move(next, worker)
    return update(next, bounds, worker)
  }
  return [
    step(state, name, (next) => {
      goOn(next, at, worker)
      return commit(next)
    }),
    step(state, `${name}, and its machine is restored to before`, commit),
  ]
}

/** The broken order: first the envelopes, then the range's document. */
function halfSteps(state: State, bounds: Bounds, at: number, worker: Worker): Step[] {
  const name = `worker ${at}, page ${worker.cursor} (attempt ${worker.attempt})`
  if (!worker.half) {
    return [
      step(state, `${name}: the envelopes are written`, (next) => {
        next.workers[at] = { ...worker, half: true }
        return update(next, bounds, worker)
      }),
    ]
  }
  return [
    step(state, `${name}: the range's document is written`, (next) => {
      if (!owns(next, worker)) {
        next.workers[at] = null
        return
      }
      move(next, worker)
      goOn(next, at, worker)
    }),
  ]
}

/** The filter of the page's first statement: this attempt's number, the old cursor, not closed. */
function owns(state: State, worker: Worker): boolean {
  const range = rangeOf(state, worker)
  return range?.attempt === worker.attempt && range.cursor === worker.cursor && !range.closed
}

function move(next: State, worker: Worker): void {
  const range = rangeOf(next, worker)
  if (range === undefined) throw new Error('a page of no range')
  range.cursor += 1
  range.closed = range.cursor === next.envelopes.length
}

function goOn(next: State, at: number, worker: Worker): void {
  const isLast = rangeOf(next, worker)?.closed === true
  const cursor = worker.cursor + 1
  next.workers[at] = isLast ? null : { ...worker, cursor, page: null, half: false }
}

/** The page's updates: filtered by `kek_version: A` and the old `dek_wrapped`; a fence on B refuses (121). */
function update(next: State, bounds: Bounds, { rotation, cursor, page }: Worker): string | null {
  const [from = 0, to = 0] = bounds.rotations[rotation] ?? []
  const envelope = next.envelopes[cursor]
  if (envelope === undefined || page === null || page.id === null) return null
  if (envelope.id !== page.id || envelope.v !== from || envelope.odd === true) return null
  if (next.fenced === to) return null
  next.envelopes[cursor] = { v: to, gen: envelope.gen, wrapped: page.gen, id: next.nextId }
  next.nextId += 1
  if (next.leftForGood[to] !== true) return null
  return `the sweep of rotation ${rotation + 1} wrote under version ${to} after settle had left it`
}

/** Undefined: the range was closed, and is not kept. */
function rangeOf({ ranges }: State, { rotation, pass }: Worker): Range | undefined {
  return ranges.find((range) => range.rotation === rotation && range.pass === pass)
}
