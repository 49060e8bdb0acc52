import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { BenchFleet } from './simulated-fleet.ts'
import type { Fixture } from './fixture.ts'

/** How many load at once: each costs half a second of a core. */
const startingAtOnce = 4

/** Applications, each a process of its own with a keyring and nothing else. */
export async function startProcesses(
  { stack }: Fixture,
  count: number,
  print: (line: string) => void,
): Promise<BenchFleet> {
  const children: ChildProcess[] = []
  const onSwitched: ((at: number) => void)[] = []
  const start = async (at: number) => {
    const node = `app-${at.toString().padStart(3, '0')}`
    const child = fork(fileURLToPath(new URL('./keyring-process.js', import.meta.url)), [], {
      env: { ...stack.env, KEYTURN_CONFIG: stack.configPath, KEYTURN_NODE: node },
    })
    children.push(child)
    await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(() => Promise.reject(new Error(`"${node}" ended early`))),
    ])
    child.on('message', (switchedAt) => {
      for (const listener of onSwitched) listener(Number(switchedAt))
    })
  }
  const close = async () => {
    const ends = children
      .filter(({ exitCode }) => exitCode === null)
      .map(async (child) => {
        const ended = once(child, 'exit')
        child.disconnect()
        await ended
      })
    await Promise.all(ends)
  }
  try {
    for (let at = 0; at < count; at += startingAtOnce) {
      const some = Math.min(startingAtOnce, count - at)
      await Promise.all(Array.from({ length: some }, (_, index) => start(at + index)))
      if (at % 60 === 0) print(`${children.length} processes run`)
    }
  } catch (error) {
    await close()
    throw error
  }
  const shares = await Promise.all(children.map(({ pid }) => megabytesOf(pid ?? 0)))
  const total = shares.reduce((sum, share) => sum + share, 0)
  print(`memory of a process: ${(total / count).toFixed(0)} MB`)
  return {
    size: count,
    megabytesEach: total / count,
    onSwitched: (listener) => onSwitched.push(listener),
    close,
  }
}

/** Its proportional share of memory: pages that several processes map are divided among them (proc_pid_smaps(5)). */
async function megabytesOf(pid: number): Promise<number> {
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8')
  return Number(/^Pss: +(\d+)/m.exec(rollup)?.[1]) / 1_024
}
