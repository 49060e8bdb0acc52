import type { ProviderName } from '../../contracts/kek.ts'
import { ratioFrom, type BenchFigures, type Figure, type Series } from '../figures.ts'
import type { Compared } from './book.ts'
import type { Faults } from './faults.ts'
import type { Ended } from './rotations.ts'
import type { Searched } from './secrets.ts'
import type { Takeover } from './takeovers.ts'
import type { Writers } from './writers.ts'

/** Everything that a soak with one provider observed. */
export interface Soaked {
  rotations: readonly Ended[]
  takeovers: readonly Takeover[]
  compared: Compared
  faults: Faults['counts']
  writers: Pick<Writers, 'done' | 'refused'>
  search: Searched
  series: Series[]
  idle: number
  seed: number
}

/** Whether nothing was lost, miscounted, wrong or leaked. */
export function isSound(soaked: Soaked): boolean {
  const { lost, wrong } = soaked.compared
  return lost.length + wrong.length + soaked.search.hits.size + offCounters(soaked).length === 0
}

export function figuresOf(provider: ProviderName, soaked: Soaked): Required<BenchFigures> {
  const { compared, search, series, seed, idle } = soaked
  const off = offCounters(soaked)
  const evidence = [...off, ...compared.lost, ...compared.wrong, ...search.hits].slice(0, 20)
  const bar = (what: string, value: number) =>
    ratioFrom(`${what}, ${provider}`, [value], { atMost: 0 })
  return {
    figures: [
      ...work(provider, soaked),
      ...waits(provider, soaked.takeovers),
      figure(`seed, ${provider}`, 'seed', seed, { idle, note: evidence.join('; ') }),
    ],
    ratios: [
      bar('envelopes lost', compared.lost.length),
      bar('counters off', off.length),
      bar('wrong plaintexts', compared.wrong.length),
      bar('secrets found', search.hits.size),
    ],
    series: series.map((one) => ({ ...one, name: `${one.name}, ${provider}` })),
  }
}

function work(provider: ProviderName, soaked: Soaked): Figure[] {
  const { rotations, faults, compared, writers, search } = soaked
  const completed = rotations.filter(({ counted }) => counted !== null)
  const ended = rotations.filter(({ counted }) => counted === null)
  const reasons = ended.map(({ row }) => row.error?.code ?? row.outcome ?? '').join(', ')
  const sum = completed.reduce((total, { row }) => total + (row.counters?.rewrapped ?? 0), 0)
  const { written, conflicts, unknown, skipped } = writers.done
  const megabytes = Object.entries(search.bytes).map(([kind, bytes]) => {
    return `${kind} ${(bytes / 1e6).toFixed(1)}`
  })
  const total = Object.values(search.bytes).reduce((all, bytes) => all + bytes, 0) / 1e6
  const name = (what: string) => `${what}, ${provider}`
  return [
    figure(name('rotations completed'), 'rotations', completed.length),
    figure(name('rotations that ended otherwise'), 'rotations', ended.length, { note: reasons }),
    figure(name('envelopes re-wrapped'), 'envelopes', sum),
    figure(name('envelopes opened and compared'), 'envelopes', compared.opened),
    figure(name('writes'), 'writes', written, {
      note: `${conflicts} met a later write, ${unknown} with an unknown outcome, ${skipped} not begun while 50 waited; seals refused: ${listed(writers.refused)}`,
    }),
    figure(name('faults'), 'faults', sumOf(Object.values(faults)), { note: listed(faults) }),
    figure(name('searched for secrets'), 'MB', Math.round(total), { note: megabytes.join(', ') }),
  ]
}

function waits(provider: ProviderName, takeovers: readonly Takeover[]): Figure[] {
  return (['kill', 'freeze'] as const).flatMap((cause) => {
    const all = takeovers.filter((one) => one.cause === cause).map(({ seconds }) => seconds)
    const sorted = all.sort((one, other) => one - other)
    const at = (share: number) => sorted[Math.ceil(sorted.length * share) - 1] ?? 0
    const name = (what: string) => `takeover after a ${cause}, ${what}, ${provider}`
    return [
      figure(name('number'), 'takeovers', sorted.length),
      ...(
        [
          ['p50', 0.5],
          ['p99', 0.99],
          ['longest', 1],
        ] as const
      ).map(([what, share]) => figure(name(what), 's', Math.round(at(share) * 10) / 10)),
    ]
  })
}

/** One line for each completed rotation whose counters are not exact or that left an envelope behind. */
function offCounters({ rotations }: Soaked): string[] {
  return rotations.flatMap(({ row, counted }) => {
    if (counted === null || (counted.sum === counted.before && counted.left === 0)) return []
    const { sum, before, left } = counted
    return [`rotation ${row._id}: ${sum} of ${before} counted, ${left} left`]
  })
}

function figure(
  name: string,
  unit: string,
  value: number,
  { idle = null, note = '' }: { idle?: number | null; note?: string } = {},
): Figure {
  return { name, unit, value, runs: [value], idle, note }
}

function listed(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).map(([name, count]) => `${name} ${count}`)
  return parts.length === 0 ? 'none' : parts.join(', ')
}

function sumOf(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
