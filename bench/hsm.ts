/**
 * The pool against a token whose calls take time: rewraps a second with 0, 1 and 5 ms added to each crypt call and with 1,
 * 8 and 30 sessions, beside the ideal of `sessions ÷ (3 × latency)`. The token is SoftHSM2 behind the fault module
 * (test/fault-hsm), so every figure includes processor time: with 1 ms and 30 sessions two cores are the limit. `node
 * dist/bench/hsm.js`, or as a sub-command of `npm run bench`.
 */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { findSoftHsm } from '../devstack/servers/softhsm.ts'
import { makeSoftToken } from '../devstack/soft-token.ts'
import { createLog } from '../observability/log.ts'
import { openPkcs11Provider, type Pkcs11Provider } from '../providers/pkcs11/pkcs11-provider.ts'
import type { RewrapItem } from '../providers/provider.ts'
import { median, ratioFrom, type Figure, type Ratio } from './figures.ts'
import { watchIdle } from './machine.ts'

const execute = promisify(execFile)
const allLatencies = [0, 1, 5]
const allSessions = [1, 8, 30]
/** The one combination with a bar, and the bar. */
const bar = { latency: 5, sessions: 30, atLeast: 0.9 }
const secondsEach = 3
/** More than two cores can do in the time of a run. */
const mostItems = 12_000
/** Pages in flight, as a rotation has them. */
const inFlight = 3

interface HsmFigures {
  figures: Figure[]
  ratios: Ratio[]
}

interface HsmOptions {
  /** Number of repetitions; the median counts. */
  pairs?: number
  latencies?: readonly number[]
  sessionCounts?: readonly number[]
}

/** Takes about two minutes. */
export async function run(options: HsmOptions = {}): Promise<HsmFigures> {
  const { pairs = 3, latencies = allLatencies, sessionCounts = allSessions } = options
  const answer: HsmFigures = { figures: [], ratios: [] }
  await withSlowToken(async (open, setLatency) => {
    for (const sessions of sessionCounts) {
      await setLatency(0)
      const provider = await open(sessions)
      try {
        for (const latency of latencies) {
          const runs = await measure(provider, { latency, sessions, pairs, setLatency })
          add(answer, { latency, sessions }, runs)
        }
      } finally {
        await provider.close()
      }
    }
  })
  return answer
}

interface Round {
  latency: number
  sessions: number
}

function add(answer: HsmFigures, { latency, sessions }: Round, runs: Timed[]): void {
  const name = `rewraps, ${latency} ms a call, ${sessions} sessions`
  const figure = { value: median(runs.map(({ perSecond }) => perSecond)), unit: 'envelopes/s' }
  const all = runs.map(({ perSecond }) => Math.round(perSecond))
  const idle = median(runs.map(({ idle }) => idle))
  answer.figures.push({ name, ...figure, value: Math.round(figure.value), runs: all, idle })
  if (latency === 0) return
  const ideal = (1_000 * sessions) / (3 * latency)
  const shares = runs.map(({ perSecond }) => perSecond / ideal)
  const isBar = latency === bar.latency && sessions === bar.sessions
  const set = isBar ? { atLeast: bar.atLeast } : {}
  answer.ratios.push(ratioFrom(`${name} ÷ ${Math.round(ideal)}`, shares, set, runs))
}

interface Timed {
  perSecond: number
  idle: number
}

async function measure(
  provider: Pkcs11Provider,
  options: Round & { pairs: number; setLatency: (ms: number) => Promise<void> },
): Promise<Timed[]> {
  const { latency, sessions, pairs, setLatency } = options
  await setLatency(0)
  const ideal = latency === 0 ? Infinity : (1_000 * sessions) / (3 * latency)
  const items = await sealed(provider, Math.min(mostItems, Math.ceil(ideal * secondsEach)))
  await setLatency(latency)
  // Lanes start under load: warm up, so that the measured pool has all its lanes.
  for (let round = 0; round < 200 && latency > 0; round++) {
    if (provider.stats().sessions === sessions) break
    await provider.rewrap({ from: 1, to: 2, check: 'all', items: items.slice(0, 3 * sessions) })
  }
  const runs: Timed[] = []
  for (let pair = 0; pair < pairs; pair++) runs.push(await timed(provider, items))
  return runs
}

async function timed(provider: Pkcs11Provider, items: RewrapItem[]): Promise<Timed> {
  const idle = watchIdle()
  const began = performance.now()
  const page = Math.min(1_000, Math.ceil(items.length / inFlight))
  let next = 0
  const line = async (): Promise<void> => {
    while (next < items.length) {
      const some = items.slice(next, (next += page))
      const { outcomes } = await provider.rewrap({ from: 1, to: 2, check: 'all', items: some })
      if (outcomes.some(({ ok }) => !ok)) throw new Error('an envelope was refused')
    }
  }
  await Promise.all(Array.from({ length: inFlight }, line))
  const perSecond = (1_000 * items.length) / (performance.now() - began)
  return { perSecond, idle: idle() }
}

async function sealed(provider: Pkcs11Provider, count: number): Promise<RewrapItem[]> {
  const deks = Array.from({ length: count }, () => ({ dek: randomBytes(32), aad: randomBytes(32) }))
  const wraps = await provider.wrap(1, deks)
  return wraps.map((wrap, index) => ({
    ...wrap,
    aadFrom: deks[index]?.aad ?? Buffer.alloc(0),
    aadTo: randomBytes(32),
  }))
}

type Open = (sessions: number) => Promise<Pkcs11Provider>

/** A fresh token behind the fault module, built from its sources; throws when SoftHSM2 or gcc is missing. */
async function withSlowToken(
  use: (open: Open, setLatency: (ms: number) => Promise<void>) => Promise<void>,
): Promise<void> {
  const softhsm = await findSoftHsm()
  if (softhsm === null) throw new Error('SoftHSM2 is missing: npm run demo shows how to install it')
  const base = join(packageRoot, '.keyturn')
  await mkdir(base, { recursive: true })
  const folder = await mkdtemp(join(base, 'bench-hsm-'))
  try {
    const token = await makeSoftToken(softhsm, folder, 'bench')
    const control = join(folder, 'fault')
    const modulePath = await buildFaultModule(folder)
    process.env['SOFTHSM2_CONF'] = token.conf
    process.env['FAULT_HSM_MODULE'] = softhsm.modulePath
    process.env['FAULT_HSM_CONTROL'] = control
    const open: Open = async (maxSessions) => {
      const config = {
        modulePath,
        token: { label: token.label },
        pinEnv: 'BENCH_PIN',
        maxSessions,
        keyLabelPrefix: 'bench',
        useGcmIvFromHsm: 'auto' as const,
      }
      const log = createLog({ level: 'warn', pretty: false })
      const provider = await openPkcs11Provider({ install: 'bench', config, pin: token.pin, log })
      for (const version of [1, 2]) await load(provider, version)
      return provider
    }
    await use(open, (ms) => writeFile(control, ms === 0 ? '' : `latency crypt ${ms}\n`))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function load(provider: Pkcs11Provider, version: number): Promise<void> {
  const { ceremony } = provider
  const label = ceremony.labelOf(version)
  const gcm = await ceremony.gcmProfile()
  const keyId = Buffer.alloc(16, version)
  await ceremony.generate(label, keyId)
  const canary = await ceremony.makeCanary(version, label, keyId, gcm)
  await provider.load({ version, provider: 'pkcs11', label, keyId, gcm, canary })
}

const here = fileURLToPath(new URL('.', import.meta.url))
/** Works from bench/ and from dist/bench/. */
const packageRoot = here.replace(/(\/dist)?\/bench\/$/, '')

export async function buildFaultModule(folder: string): Promise<string> {
  const path = join(folder, 'fault-hsm.so')
  const sources = join(packageRoot, 'test/fault-hsm')
  const names = ['fault-hsm.c', 'control.c', 'iv-modes.c'].map((name) => join(sources, name))
  const headers = join(packageRoot, 'node_modules/pkcs11js/includes')
  const flags = ['-shared', '-fPIC', '-O1', '-pthread', '-I', headers]
  await execute('gcc', [...flags, '-o', path, ...names, '-ldl'])
  return path
}
