import { execFile } from 'node:child_process'
import { readFile, readdir } from 'node:fs/promises'
import { arch, cpus, loadavg, platform, release, totalmem } from 'node:os'
import { promisify } from 'node:util'
import { findServer } from '../devstack/servers/find-server.ts'
import type { Timed } from './figures.ts'

const run = promisify(execFile)

/** The properties of the machine that figures depend on. */
export async function machine(): Promise<Record<string, string | number>> {
  const print = () => undefined
  const [mongod, temporal] = await Promise.all([
    findServer('mongod', { print }),
    findServer('temporal', { print }),
  ])
  const manifest = new URL('../package.json', import.meta.url)
  const parent = new URL('../../package.json', import.meta.url)
  const text = await readFile(parent, 'utf8').catch(() => readFile(manifest, 'utf8'))
  const { version } = JSON.parse(text) as { version: string }
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryMegabytes: Math.round(totalmem() / 2 ** 20),
    system: `${platform()} ${release()} ${arch()}`,
    node: process.version,
    mongod: mongod.version,
    temporal: temporal.version,
    softhsm: await run('softhsm2-util', ['--version']).then(
      ({ stdout }) => stdout.trim(),
      () => 'none',
    ),
    keyturn: version,
    loadBefore: loadavg()[0] ?? 0,
  }
}

/** The idle share of all cores between two calls, 0 to 1. */
export function watchIdle(): () => number {
  const look = () => {
    let idle = 0
    let all = 0
    for (const { times } of cpus()) {
      idle += times.idle
      all += times.idle + times.user + times.sys + times.nice + times.irq
    }
    return { idle, all }
  }
  const before = look()
  return () => {
    const now = look()
    return (now.idle - before.idle) / Math.max(1, now.all - before.all)
  }
}

/** `work` returns how many items it processed. */
export async function timed(work: () => Promise<number>): Promise<Timed> {
  const idle = watchIdle()
  const began = performance.now()
  const done = await work()
  return { perSecond: done / ((performance.now() - began) / 1_000), idle: idle() }
}

/** Resident memory of a process and all that it started, in megabytes; 0 except on Linux. */
export async function residentMegabytes(pid: number): Promise<number> {
  const parents = new Map<number, number>()
  const resident = new Map<number, number>()
  for (const name of await readdir('/proc').catch(() => [])) {
    if (!/^\d+$/.test(name)) continue
    const status = await readFile(`/proc/${name}/status`, 'utf8').catch(() => '')
    parents.set(Number(name), Number(/^PPid:\s+(\d+)/m.exec(status)?.[1] ?? 0))
    resident.set(Number(name), Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0))
  }
  const isOurs = (one: number): boolean => one === pid || (one > 1 && isOurs(parents.get(one) ?? 0))
  let kilobytes = 0
  for (const [one, size] of resident) if (isOurs(one)) kilobytes += size
  return Math.round(kilobytes / 1_024)
}
