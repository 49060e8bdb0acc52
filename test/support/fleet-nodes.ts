import { readdirSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { spawnSupervised } from '../../devstack/supervised-child.ts'
import type { SupervisedChild } from '../../devstack/supervised-child.ts'
import { waitUntil } from '../../devstack/wait-until.ts'

const ownMain = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** The worker processes of a fleet, one for each node; each stands for a host. */
export interface FleetNodes {
  /**
   * Starts a worker and waits until it is up. `config`: another configuration file than the fleet's. `as`: the name of
   * another node, of which it becomes one more process.
   */
  start(node: string, options?: StartOptions): Promise<void>
  /** SIGTERM: resolves with the exit code. */
  stop(node: string): Promise<number | null>
  /** SIGKILL to the worker and its lanes, like a host that loses power. */
  kill(node: string): Promise<void>
  /** SIGSTOP to the worker and its lanes, like a VM that is suspended. */
  freeze(node: string): void
  thaw(node: string): void
  /** Whether its process runs (a frozen one does). */
  runs(node: string): boolean
  pid(node: string): number
  /** The output of all workers of this node, including those that have ended. */
  log(node: string): Promise<string>
  names(): string[]
  close(): Promise<void>
}

export interface StartOptions {
  config?: string
  env?: NodeJS.ProcessEnv
  as?: string
  /** Roles of its worker; all by default. */
  roles?: string
  /** The command line of another build (test/support/other-build.ts). */
  main?: string
}

export function fleetNodes(options: {
  folder: string
  config: string
  env: NodeJS.ProcessEnv
}): FleetNodes {
  const running = new Map<string, SupervisedChild>()
  const seen = new Set<string>()
  const logFile = (node: string) => join(options.folder, `${node}.log`)
  const log = (node: string) => readFile(logFile(node), 'utf8').catch(() => '')
  const of = (node: string): SupervisedChild => {
    const worker = running.get(node)
    if (worker === undefined) throw new Error(`no worker of "${node}" was started`)
    return worker
  }
  const signalAll = (node: string, signal: NodeJS.Signals) => {
    for (const pid of membersOf(of(node).pid)) process.kill(pid, signal)
  }
  const nodes: FleetNodes = {
    async start(
      node,
      { config = options.config, env = {}, as = node, roles, main = ownMain } = {},
    ) {
      const before = (await log(node)).length
      const worker = spawnSupervised({
        command: process.execPath,
        args: [
          main,
          'worker',
          '--node',
          as,
          '--config',
          config,
          ...(roles === undefined ? [] : ['--roles', roles]),
        ],
        env: { ...process.env, ...options.env, ...env, NO_COLOR: '1' },
        logFile: logFile(node),
      })
      running.set(node, worker)
      seen.add(node)
      const isUp = async () => {
        const lines = (await log(node)).slice(before)
        if (worker.hasEnded()) throw new Error(`the worker of ${node} ended: ${lines.slice(-3000)}`)
        return lines.includes('worker is up')
      }
      await waitUntil(`the worker of ${node} does not come up`, isUp, { withinMs: 60_000 })
    },
    async stop(node) {
      const { code } = await of(node).stop(60_000)
      return code
    },
    async kill(node) {
      await of(node).kill()
    },
    freeze: (node) => signalAll(node, 'SIGSTOP'),
    thaw: (node) => signalAll(node, 'SIGCONT'),
    runs: (node) => running.get(node)?.hasEnded() === false,
    pid: (node) => of(node).pid,
    log,
    names: () => [...seen],
    async close() {
      await Promise.all([...running.values()].map((worker) => worker.kill()))
    },
  }
  return nodes
}

/** The processes of a supervised session except its supervisor, which must keep running to end the others. */
function membersOf(group: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
        const [name = '', , , processGroup] = stat.slice(stat.indexOf('(') + 1).split(/\) | /)
        return Number(processGroup) === group && name !== 'sh' && name !== 'sleep'
      } catch {
        return false
      }
    })
    .map(Number)
}
