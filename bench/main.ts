/**
 * `npm run bench`: measures part by part, prints a table of each, and writes `bench/results/<part>.json` and `.svg`. Ends
 * with 1 when a bar is missed. Figures depend on the machine, so its name, versions and idle time stand beside them.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { table } from '../cli/ui/tables.ts'
import { holds, type BenchFigures, type Ratio } from './figures.ts'
import { machine } from './machine.ts'
import { benchCommand } from './command.ts'
import type { BenchOptions } from './options.ts'
import { parts, type Part } from './parts.ts'
import { plot } from './plot.ts'

async function run(names: string[], options: BenchOptions): Promise<void> {
  const usual = Object.keys(parts).filter((name) => parts[name]?.isUsual === true)
  for (const name of names.length === 0 ? usual : names) {
    const part = parts[name]
    if (part === undefined) throw new TypeError(`there is no part "${name}"`)
    const ratios = await runPart(name, part, options)
    if (!ratios.every(holds)) process.exitCode = 1
  }
}

async function runPart(name: string, part: Part, options: BenchOptions): Promise<Ratio[]> {
  const about = await machine()
  const began = Date.now()
  const measured = await (await part.load()).run(options)
  const all = { ...measured, series: measured.series ?? [] }
  const seconds = Math.round((Date.now() - began) / 1_000)
  const flags = { ...options, print: undefined }
  const result = { at: new Date(began).toISOString(), seconds, machine: about, options: flags }
  const files = await save(name, result, all)
  console.log([`${name}, ${seconds} s`, present(all), ...files, ''].join('\n'))
  return all.ratios
}

async function save(
  name: string,
  result: { machine: Record<string, string | number> },
  all: Required<BenchFigures>,
): Promise<string[]> {
  const folder = join('bench', 'results')
  await mkdir(folder, { recursive: true })
  const { cpu, cores, node, mongod } = result.machine
  const title = `Keyturn, ${name}: ${cores} cores of ${cpu}, Node ${node}, MongoDB ${mongod}`
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
    const { name, pairs, spread, idle } = ratio
    return [name, ratio.ratio, barOf(ratio), pairs.join(' '), percent(spread), percent(idle)]
  })
  return [
    table(['figure', 'median', 'unit', 'runs', 'idle CPU', ''], rows),
    '',
    table(['ratio', 'median', 'bar', 'pairs', 'spread', 'idle CPU'], bars),
  ].join('\n')
}

function barOf(ratio: Ratio): string {
  const { atLeast, atMost } = ratio
  if (atLeast === undefined && atMost === undefined) return ''
  const bar = atLeast === undefined ? `at most ${atMost ?? ''}` : `at least ${atLeast}`
  return `${bar}: ${holds(ratio) ? 'holds' : 'MISSED'}`
}

await benchCommand(run).parseAsync()
