/**
 * `npm run bench`: measures, prints one table, and writes `bench/results/<names>.json` and `.svg`. Ends with 1 when a
 * bar is missed. Figures depend on the machine, so its name, versions and idle time stand beside them.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { table } from '../cli/ui/tables.ts'
import { holds, type BenchFigures, type Ratio } from './figures.ts'
import { machine } from './machine.ts'
import { readOptions, usage, type BenchOptions } from './options.ts'
import { plot } from './plot.ts'

type Bench = () => Promise<{ run: (options: BenchOptions) => Promise<BenchFigures> }>

/** A bench is a line here and a file beside this one. */
const benches: Record<string, Bench> = {
  token: () => import('./token.ts'),
  writes: () => import('./writes.ts'),
  rotation: () => import('./rotation.ts'),
  sweep: () => import('./sweep.ts'),
  apps: () => import('./apps.ts'),
  crash: () => import('./crash.ts'),
  size: () => import('./size.ts'),
  fleet: () => import('./fleet.ts'),
}

/** Together below eight minutes on two cores. `rotation` measures the raw token of each provider too. */
const usual = ['writes', 'rotation']

async function main(): Promise<void> {
  const args = process.argv.slice(2)
  if (args.includes('--help')) {
    console.log(usage)
    return
  }
  const { names, options } = readOptions(args)
  const wanted = names.length === 0 ? usual : names
  const unknown = wanted.find((name) => !(name in benches))
  if (unknown !== undefined) throw new TypeError(`there is no bench "${unknown}"`)
  const began = Date.now()
  const about = await machine()
  const all: Required<BenchFigures> = { figures: [], ratios: [], series: [] }
  for (const name of wanted) {
    const { figures, ratios, series } = await runBench(name, options)
    all.figures.push(...figures)
    all.ratios.push(...ratios)
    all.series.push(...(series ?? []))
  }
  console.log(present(all))
  const flags = { ...options, say: undefined }
  const seconds = Math.round((Date.now() - began) / 1_000)
  const result = { at: new Date(began).toISOString(), seconds, machine: about, options: flags }
  const files = await save(wanted.join('-'), result, all)
  console.log(`\n${files.join('\n')}`)
  if (!all.ratios.every(holds)) process.exitCode = 1
}

async function runBench(name: string, options: BenchOptions): Promise<BenchFigures> {
  const load = benches[name]
  if (load === undefined) throw new TypeError(`there is no bench "${name}"`)
  return (await load()).run(options)
}

async function save(
  name: string,
  result: { machine: Record<string, string | number> },
  all: Required<BenchFigures>,
): Promise<string[]> {
  const folder = join('bench', 'results')
  await mkdir(folder, { recursive: true })
  const { cpu, cores, node, mongod } = result.machine
  const title = `Keyturn: ${cores} cores of ${cpu}, Node ${node}, MongoDB ${mongod}`
  const files = [join(folder, `${name}.json`), join(folder, `${name}.svg`)]
  await writeFile(files[0] ?? '', `${JSON.stringify({ ...result, ...all }, null, 2)}\n`)
  await writeFile(files[1] ?? '', plot(title, all))
  return files
}

function present({ figures, ratios }: BenchFigures): string {
  const percent = (share: number | null) => (share === null ? null : `${Math.round(share * 100)} %`)
  const rows = figures.map(({ name, value, unit, runs, idle, note }) => {
    return [name, value, unit, runs.join(' '), percent(idle), note ?? '']
  })
  const bars = ratios.map((ratio) => {
    const { name, pairs, spread } = ratio
    return [name, ratio.ratio, barOf(ratio), pairs.join(' '), percent(spread)]
  })
  return [
    table(['figure', 'median', 'unit', 'runs', 'idle CPU', ''], rows),
    '',
    table(['ratio', 'median', 'bar', 'pairs', 'spread'], bars),
  ].join('\n')
}

function barOf(ratio: Ratio): string {
  const { atLeast, atMost } = ratio
  if (atLeast === undefined && atMost === undefined) return ''
  const bar = atLeast === undefined ? `at most ${atMost ?? ''}` : `at least ${atLeast}`
  return `${bar}: ${holds(ratio) ? 'holds' : 'MISSED'}`
}

try {
  await main()
} catch (error) {
  if (!(error instanceof TypeError)) throw error
  console.error(`error: ${error.message}\n\n${usage}`)
  process.exitCode = 2
}
