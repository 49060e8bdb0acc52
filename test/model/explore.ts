/**
 * An explicit-state search: every state that a machine can reach, breadth first, so that the first counterexample is
 * one of the shortest. States are kept as 53-bit hashes; two of a million different ones fall together with a
 * probability of about 1 in 18,000, and a collision can only hide a state, never invent a failure.
 */
export interface Step<S> {
  readonly name: string
  readonly state: S
  /** The invariant that this step breaks; null when it breaks none. */
  readonly breaks?: string | null
}

export interface Machine<S> {
  readonly initial: S
  /** All possible next steps; one may lead back to the same state. */
  next(state: S): Step<S>[]
  /** What is wrong with the state; null when nothing is. */
  invariant(state: S): string | null
  /** Whole numbers, equal for states that behave the same, and only for them. */
  key(state: S): number[]
}

export interface Exploration {
  readonly states: number
  readonly steps: number
  readonly depth: number
  /** False when `limit` ended it. */
  readonly complete: boolean
  readonly failure: { readonly broken: string; readonly trace: readonly string[] } | null
}

export function explore<S>(machine: Machine<S>, limit: number): Exploration {
  const seen = new Set<number>([hash53(machine.key(machine.initial))])
  /** For each state's number, how it was first reached. */
  const parents: number[] = [-1]
  const names: string[] = ['']
  let frontier: { id: number; state: S }[] = [{ id: 0, state: machine.initial }]
  let steps = 0
  const failed = (id: number, last: string, broken: string) => {
    const trace = [last]
    for (let at = id; at > 0; at = parents[at] ?? 0) trace.unshift(names[at] ?? '')
    return { broken, trace }
  }
  for (let depth = 0; frontier.length > 0; depth += 1) {
    const ahead: typeof frontier = []
    for (const { id, state } of frontier) {
      for (const step of machine.next(state)) {
        steps += 1
        const broken = step.breaks ?? machine.invariant(step.state)
        if (broken !== null) {
          const failure = failed(id, step.name, broken)
          return { states: seen.size, steps, depth: depth + 1, complete: false, failure }
        }
        const hash = hash53(machine.key(step.state))
        if (seen.has(hash)) continue
        seen.add(hash)
        parents.push(id)
        names.push(step.name)
        ahead.push({ id: parents.length - 1, state: step.state })
      }
      if (seen.size >= limit) {
        return { states: seen.size, steps, depth: depth + 1, complete: false, failure: null }
      }
    }
    frontier = ahead
    if (frontier.length === 0) {
      return { states: seen.size, steps, depth, complete: true, failure: null }
    }
  }
  throw new Error('a machine has at least its initial state')
}

/** After cyrb53 (public domain, github.com/bryc/code): two 32-bit multiply-xor lanes, finished into 53 bits. */
export function hash53(values: readonly number[]): number {
  let one = 0xdeadbeef
  let two = 0x41c6ce57
  for (const value of values) {
    one = Math.imul(one ^ value, 2654435761)
    one ^= one >>> 15
    two = Math.imul(two ^ value, 1597334677)
    two ^= two >>> 13
  }
  one = Math.imul(one ^ (one >>> 16), 2246822507) ^ Math.imul(two ^ (two >>> 13), 3266489909)
  two = Math.imul(two ^ (two >>> 16), 2246822507) ^ Math.imul(one ^ (one >>> 13), 3266489909)
  return 4294967296 * (2097151 & two) + (one >>> 0)
}

/** A counterexample as a person reads it. */
export function traceText({ failure }: Exploration): string {
  if (failure === null) return 'nothing is broken'
  const lines = failure.trace.map((name, index) => `${String(index + 1).padStart(4)}  ${name}`)
  return `${failure.broken}\n${lines.join('\n')}`
}
