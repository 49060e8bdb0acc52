/** Numbers that a seed decides (mulberry32): the same seed, the same order of faults. */
export interface Random {
  /** From `least` up to `most`. */
  between(least: number, most: number): number
  of<T>(values: readonly [T, ...T[]]): T
}

export function randomFrom(seed: number): Random {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return {
    between: (least, most) => least + next() * (most - least),
    of: (values) => values[Math.floor(next() * values.length)] ?? values[0],
  }
}
