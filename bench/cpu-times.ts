import { readdir, readFile } from 'node:fs/promises'

/** Clock ticks a second in /proc: 100 on every Linux that Node runs on (USER_HZ, proc(5)). */
const ticks = 100

/** Seconds of processor time by kind of process. */
export type CpuSeconds = Map<string, number>

interface Process {
  pid: number
  parent: number
  name: string
  seconds: number
}

/**
 * Processor time so far of all running processes that this process has started: `mongod`, `temporal`, the `worker`, its
 * `lanes`, and `others`. Linux only; empty elsewhere.
 */
export async function cpuSeconds(worker: number): Promise<CpuSeconds> {
  const processes = new Map<number, Process>()
  for (const name of await readdir('/proc').catch(() => [])) {
    const stat = await readFile(`/proc/${name}/stat`, 'latin1').catch(() => null)
    const one = stat === null || !/^\d+$/.test(name) ? null : processOf(Number(name), stat)
    if (one !== null) processes.set(one.pid, one)
  }
  const isBelow = (pid: number, above: number): boolean => {
    const parent = processes.get(pid)?.parent ?? 0
    return parent === above || (parent > 1 && isBelow(parent, above))
  }
  const sums: CpuSeconds = new Map()
  for (const { pid, name, seconds } of processes.values()) {
    if (!isBelow(pid, process.pid)) continue
    const what = kindOf(name, pid === worker ? 'worker' : isBelow(pid, worker) ? 'lanes' : 'others')
    sums.set(what, (sums.get(what) ?? 0) + seconds)
  }
  return sums
}

function kindOf(name: string, otherwise: string): string {
  return name === 'mongod' || name === 'temporal' ? name : otherwise
}

/** proc(5): the name is in parentheses and may contain any character; user and system time are fields 14 and 15. */
function processOf(pid: number, stat: string): Process {
  const end = stat.lastIndexOf(')')
  const fields = stat.slice(end + 2).split(' ')
  return {
    pid,
    parent: Number(fields[1]),
    name: stat.slice(stat.indexOf('(') + 1, end),
    seconds: (Number(fields[11]) + Number(fields[12])) / ticks,
  }
}
