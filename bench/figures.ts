/**
 * What a bench returns. Each `bench/<name>.ts` that is a sub-command exports `run(options): Promise<BenchFigures>`;
 * `bench/main.ts` lists them, prints one table of all, and writes one JSON file and one plot.
 */
export interface BenchFigures {
  figures: Figure[]
  /** Ratios, with a bar or for comparison only. */
  ratios: Ratio[]
  /** Drawn as lines over time. */
  series?: Series[]
}

/** One measured value: the median of `runs`. */
export interface Figure {
  name: string
  unit: string
  value: number
  runs: number[]
  /** Share of the machine's processor time that was idle during the measurement, 0 to 1; null where it is meaningless. */
  idle: number | null
  note?: string
}

/** The median of interleaved pairs. A ratio for comparison only has no bar. */
export interface Ratio {
  name: string
  ratio: number
  atLeast?: number
  atMost?: number
  /** The single pairs. */
  pairs: number[]
  /** (largest − smallest) ÷ median of the pairs. */
  spread: number
  /** Median of all its runs; null where it is meaningless. */
  idle: number | null
}

export interface Series {
  name: string
  unit: string
  /** Seconds from the beginning, and the value. */
  points: [number, number][]
}

export interface Timed {
  perSecond: number
  idle: number | null
}

export function figure(name: string, unit: string, runs: readonly Timed[], note?: string): Figure {
  const values = runs.map(({ perSecond }) => perSecond)
  return {
    name,
    unit,
    value: rounded(median(values)),
    runs: values.map(rounded),
    idle: idleOf(runs),
    ...(note === undefined ? {} : { note }),
  }
}

function idleOf(runs: readonly Pick<Timed, 'idle'>[]): number | null {
  const idles = runs.map(({ idle }) => idle).filter((idle) => idle !== null)
  return idles.length === 0 ? null : rounded(median(idles))
}

/** `one` ÷ `other`, pair by pair. */
export function ratioOf(
  name: string,
  one: readonly Timed[],
  other: readonly Timed[],
  bar: Pick<Ratio, 'atLeast' | 'atMost'> = {},
): Ratio {
  const pairs = one.map(({ perSecond }, index) => perSecond / (other[index]?.perSecond ?? NaN))
  return ratioFrom(name, pairs, bar, [...one, ...other])
}

export function ratioFrom(
  name: string,
  pairs: readonly number[],
  bar: Pick<Ratio, 'atLeast' | 'atMost'> = {},
  runs: readonly Pick<Timed, 'idle'>[] = [],
): Ratio {
  const middle = median(pairs)
  const spread = middle === 0 ? 0 : (Math.max(...pairs) - Math.min(...pairs)) / middle
  return {
    name,
    ratio: rounded(middle),
    ...bar,
    pairs: pairs.map(rounded),
    spread: rounded(spread),
    idle: idleOf(runs),
  }
}

/** True when the bar holds, or when there is none. */
export function holds({ ratio, atLeast, atMost }: Ratio): boolean {
  return ratio >= (atLeast ?? -Infinity) && ratio <= (atMost ?? Infinity)
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

/** Three significant digits below a hundred, whole numbers above. */
function rounded(value: number): number {
  return Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3))
}
