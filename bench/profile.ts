import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cpuSeconds } from './cpu-times.ts'
import type { BenchFigures, Figure } from './figures.ts'
import { fillRecords } from './fill-records.ts'
import { withFixture } from './fixture.ts'
import { sizeOf, type BenchOptions } from './options.ts'

const ownSize = { usual: 100_000, full: 100_000 }
/** Shares below this are left out of the table. */
const least = 0.01

interface CpuProfile {
  nodes: { id: number; callFrame: { functionName: string; url: string }; children?: number[] }[]
  samples: number[]
  timeDeltas: number[]
}

/**
 * Where the processor time goes: by process, from /proc, and within the worker by folder of the code, from V8's sampling
 * profile (`--cpu-prof`) of its threads without idle time. Both are valid on a busy machine too. Lanes are separate
 * processes, whose time is that of the PKCS#11 module.
 */
export async function run(options: BenchOptions): Promise<BenchFigures> {
  const all: BenchFigures = { figures: [], ratios: [] }
  for (const provider of options.providers) {
    const folder = await mkdtemp(join(tmpdir(), 'keyturn-profile-'))
    try {
      await withFixture({ provider, options }, async (fixture) => {
        await fillRecords(fixture.store, fixture.provider, sizeOf(options, ownSize))
        await fixture.workers[0]?.process.stop()
        const flags = ['--cpu-prof', `--cpu-prof-dir=${folder}`]
        const worker = await fixture.stack.startWorker('bench-1', flags)
        // A warm-up, which compiles the code.
        await fixture.rotate(1, 2)
        const before = await cpuSeconds(worker.pid)
        const { rewrapped } = await fixture.rotate(2, 1)
        const after = await cpuSeconds(worker.pid)
        for (const [what, seconds] of after) {
          const each = (1e6 * (seconds - (before.get(what) ?? 0))) / rewrapped
          all.figures.push(microseconds(`${what}, ${provider}`, each))
        }
        await worker.process.stop()
      })
      all.figures.push(...(await sharesIn(folder, provider)))
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }
  return all
}

function microseconds(name: string, value: number): Figure {
  const each = Math.round(value * 10) / 10
  return { name, unit: 'µs of CPU an envelope', value: each, runs: [each], idle: null }
}

async function sharesIn(folder: string, provider: string): Promise<Figure[]> {
  const byRoom = new Map<string, number>()
  for (const name of await readdir(folder)) {
    const profile = JSON.parse(await readFile(join(folder, name), 'utf8')) as CpuProfile
    for (const [room, micros] of timesOf(profile)) {
      byRoom.set(room, (byRoom.get(room) ?? 0) + micros)
    }
  }
  const total = [...byRoom.values()].reduce((sum, micros) => sum + micros, 0)
  return [...byRoom]
    .sort(([, one], [, other]) => other - one)
    .filter(([, micros]) => micros / total >= least)
    .map(([room, micros]) => {
      const share = Math.round((1_000 * micros) / total) / 10
      const name = `${room}, ${provider}`
      return { name, unit: '% of busy time', value: share, runs: [share], idle: null }
    })
}

function timesOf({ nodes, samples, timeDeltas }: CpuProfile): Map<string, number> {
  const rooms = new Map<number, string>()
  const parents = new Map<number, number>()
  for (const { id, children = [] } of nodes) for (const child of children) parents.set(child, id)
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]))
  // Native code without a name counts for its caller.
  const roomOf = (id: number): string => {
    const known = rooms.get(id)
    if (known !== undefined) return known
    const { url = '', functionName = '' } = frames.get(id) ?? {}
    const parent = parents.get(id)
    const isNative = url === '' && !functionName.startsWith('(') && parent !== undefined
    const room = isNative ? roomOf(parent) : roomAt(url, functionName)
    rooms.set(id, room)
    return room
  }
  const times = new Map<string, number>()
  for (const [index, id] of samples.entries()) {
    const room = roomOf(id)
    if (room === '(idle)' || room === '(program)' || room === '(root)') continue
    times.set(room, (times.get(room) ?? 0) + (timeDeltas[index] ?? 0))
  }
  return times
}

function roomAt(url: string, functionName: string): string {
  if (url === '') return functionName
  const inModule = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1]
  if (inModule !== undefined) return inModule.startsWith('@temporalio/') ? '@temporalio' : inModule
  if (url.startsWith('node:')) return /crypto/.test(url) ? 'node:crypto' : 'node'
  return /\/dist\/([^/]+)/.exec(url)?.[1] ?? 'other'
}
