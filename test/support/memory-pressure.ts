import { existsSync, readFileSync } from 'node:fs'
import { mkdir, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { spawnSupervised } from '../../devstack/supervised-child.ts'
import { waitUntil } from '../../devstack/wait-until.ts'
import { freshName } from './fresh.ts'

const limitBytes = 64 * 2 ** 20
const withinMs = 30_000

interface Hierarchy {
  readonly folder: string
  readonly limit: string
  /** The file whose line `oom_kill N` counts what the kernel killed. */
  readonly events: string
}

const hierarchies: readonly Hierarchy[] = [
  { folder: '/sys/fs/cgroup/memory', limit: 'memory.limit_in_bytes', events: 'memory.oom_control' },
  { folder: '/sys/fs/cgroup', limit: 'memory.max', events: 'memory.events' },
]

/** Why no process can be put under memory pressure here; null if one can. Says it once on stderr. */
export async function whyNoMemoryPressure(): Promise<string | null> {
  const victim = spawnSupervised({ command: 'sleep', args: ['600'] })
  try {
    await killByPressure(victim.pid)
    return null
  } catch (error) {
    const why = `no cgroup can limit memory here (${String(error).split('\n')[0]}), tests of memory pressure are skipped; run them as root on a machine with a writable cgroup`
    console.error(why)
    return why
  } finally {
    await victim.kill()
  }
}

/**
 * Puts a process into a cgroup of 64 MiB, as the first choice of the kernel's OOM killer, together with neighbours that
 * allocate without end. Resolves when the kernel has killed the process; throws if it was not the kernel.
 */
export async function killByPressure(pid: number): Promise<void> {
  const { folder, limit, events } = usable()
  const group = join(folder, freshName('keyturn-test'))
  await mkdir(group)
  const killed = () => Number(/oom_kill (\d+)/.exec(readFileSync(join(group, events), 'utf8'))?.[1])
  try {
    await writeFile(join(group, limit), `${limitBytes}`)
    await writeFile(`/proc/${pid}/oom_score_adj`, '1000')
    await writeFile(join(group, 'cgroup.procs'), `${pid}`)
    // tail keeps what it has read until it sees a line's end. Several, so that none is larger than the victim's bonus.
    const command = 'echo $$ > "$1/cgroup.procs"; for i in 1 2 3 4; do tail /dev/zero & done; wait'
    const hog = spawnSupervised({ command: '/bin/sh', args: ['-c', command, 'hog', group] })
    try {
      await waitUntil(`process ${pid} is not killed`, () => isGone(pid), { withinMs, everyMs: 20 })
      if (!(killed() >= 1)) throw new Error(`process ${pid} ended by itself`)
    } finally {
      await hog.kill()
    }
  } finally {
    await writeFile(join(folder, 'cgroup.procs'), `${pid}`).catch(() => undefined)
    // A killed process leaves its group a moment after it is gone.
    await waitUntil(
      'the cgroup cannot be removed',
      () =>
        rmdir(group).then(
          () => true,
          () => false,
        ),
      {
        withinMs,
      },
    )
  }
}

function usable(): Hierarchy {
  const [first, second] = hierarchies as [Hierarchy, Hierarchy]
  if (existsSync(join(first.folder, first.limit))) return first
  const controllers = readFileSync(join(second.folder, 'cgroup.subtree_control'), 'utf8')
  if (controllers.split(/\s/).includes('memory')) return second
  throw new Error('no memory controller')
}

/** Gone, or a zombie whose parent has not read its end. */
function isGone(pid: number): boolean {
  try {
    return /\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return true
  }
}

/** The processes of PKCS#11 lanes that a worker has. */
export function lanesOf(worker: number): number[] {
  const children = readFileSync(`/proc/${worker}/task/${worker}/children`, 'utf8').trim().split(' ')
  const isLane = (pid: number) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('lane')
  return children.map(Number).filter((pid) => pid > 0 && isLane(pid))
}
