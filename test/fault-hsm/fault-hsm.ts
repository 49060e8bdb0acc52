import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** The fault module over a real one, as a test steers it and reads it. README.md beside this file has the language. */
export interface FaultHsm {
  /** What goes into `module_path`. */
  readonly path: string
  readonly control: string
  /** What the processes that load it must have in their environment. */
  readonly env: { readonly FAULT_HSM_MODULE: string; readonly FAULT_HSM_CONTROL: string }
  /** Replaces the control file; counts of `times` begin anew. Without lines nothing is spoiled. */
  set(...lines: readonly string[]): Promise<void>
  heal(): Promise<void>
  /** Calls by function over all processes since the beginning, and what is open in those that live. */
  counters(): Promise<FaultCounters>
  /** Every C_Login, C_Initialize, C_Finalize and call to a foreign slot since the beginning, in order. */
  log(): Promise<LoggedCall[]>
  /** How many C_Login were answered so. */
  logins(ckr: number): Promise<number>
}

export interface FaultCounters {
  readonly calls: Readonly<Record<string, number>>
  readonly openSessions: number
  /** Processes that have one. */
  readonly processes: number
}

export interface LoggedCall {
  readonly function: string
  readonly ckr: number
  readonly pid: number
  readonly parent: number
  /** User type of a C_Login; the slot of a call to a foreign one. */
  readonly user: number
}

const sources = ['fault-hsm.c', 'control.c', 'iv-modes.c']
/** Of control.c: 128 counters of 24 characters and 8 bytes, then 256 processes of three numbers. */
const counterBytes = 32
const processesAt = 128 * counterBytes
const processBytes = 24
const processCount = 256

/** Whether there is a C compiler; without one the module cannot be had. */
export async function canBuildFaultHsm(): Promise<boolean> {
  return run('gcc', ['--version']).then(
    () => true,
    () => false,
  )
}

/** Builds the module (once for all tests) with its control file in `folder`, over the module `real`. */
export async function makeFaultHsm(folder: string, real: string): Promise<FaultHsm> {
  const control = join(folder, 'fault-hsm')
  const env = { FAULT_HSM_MODULE: real, FAULT_HSM_CONTROL: control }
  let edition = 0
  const log = async (): Promise<LoggedCall[]> => {
    const text = await readFile(`${control}.log`, 'utf8').catch(() => '')
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [name = '', ...numbers] = line.split(' ')
        const [ckr = 0, pid = 0, parent = 0, user = 0] = numbers.map(Number)
        return { function: name, ckr, pid, parent, user }
      })
  }
  const set = async (...lines: readonly string[]): Promise<void> => {
    const draft = `${control}.draft`
    // The comment makes each edition a file of another size than the one before.
    await writeFile(draft, [...lines, `#${'.'.repeat(edition++ % 97)}`, ''].join('\n'))
    await rename(draft, control)
  }
  return {
    path: await build(),
    control,
    env,
    set,
    heal: () => set(),
    counters: async () => readCounters(await readFile(`${control}.state`).catch(() => null)),
    log,
    logins: async (ckr) =>
      (await log()).filter((call) => call.function === 'C_Login' && call.ckr === ckr).length,
  }
}

/** Points the lanes that this very process starts at it. */
export function useFaultHsm(fault: FaultHsm): void {
  Object.assign(process.env, fault.env)
}

async function build(): Promise<string> {
  const here = import.meta.dirname
  const texts = await Promise.all(
    (await readdir(here))
      .filter((name) => /\.[ch]$/.test(name))
      .sort()
      .map((name) => readFile(join(here, name))),
  )
  const hash = createHash('sha256').update(Buffer.concat(texts)).digest('hex').slice(0, 16)
  const folder = join(process.cwd(), '.keyturn')
  const path = join(folder, `fault-hsm-${hash}.so`)
  const isThere = await stat(path).then(
    () => true,
    () => false,
  )
  if (isThere) return path
  await mkdir(folder, { recursive: true })
  const draft = `${path}.${process.pid}`
  const headers = join(process.cwd(), 'node_modules/pkcs11js/includes')
  const flags = ['-shared', '-fPIC', '-O1', '-Wall', '-Werror', '-pthread', '-I', headers]
  await run('gcc', [...flags, '-o', draft, ...sources.map((name) => join(here, name)), '-ldl'])
  await rename(draft, path)
  await rm(draft, { force: true })
  return path
}

function readCounters(state: Buffer | null): FaultCounters {
  const calls: Record<string, number> = {}
  if (state === null) return { calls, openSessions: 0, processes: 0 }
  for (let at = 0; at < processesAt && state[at] !== 0; at += counterBytes) {
    const name = state.toString('latin1', at, at + 24).replace(/\0.*$/s, '')
    calls[name] = Number(state.readBigUInt64LE(at + 24))
  }
  let openSessions = 0
  let processes = 0
  for (let row = 0; row < processCount; row++) {
    const at = processesAt + row * processBytes
    const pid = Number(state.readBigInt64LE(at))
    const open = Number(state.readBigInt64LE(at + 8))
    if (pid === 0 || open === 0 || !isRunning(pid)) continue
    openSessions += open
    processes += 1
  }
  return { calls, openSessions, processes }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
