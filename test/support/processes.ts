import { fileURLToPath } from 'node:url'
import { afterAll, afterEach } from 'vitest'
import { spawnSupervised } from '../../devstack/supervised-child.ts'
import type { Ended, SupervisedChild } from '../../devstack/supervised-child.ts'
import { waitUntil } from '../../devstack/wait-until.ts'

/** The built command line; `npm test` builds it first. */
const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

export interface SpawnOptions {
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
}

export interface TestProcess {
  readonly pid: number
  readonly process: SupervisedChild
  stdout(): string
  stderr(): string
  /** Resolves with the first matching line of stdout or stderr, including earlier output; waits 30 s by default. */
  line(pattern: RegExp | string, withinMs?: number): Promise<string>
  /** Resolves when the process has ended by itself and all its output is read; waits 60 s by default. */
  exit(withinMs?: number): Promise<Ended & { stdout: string; stderr: string }>
  /** SIGTERM, then SIGKILL after 10 s. */
  stop(): Promise<Ended>
  /** SIGKILL to the process and everything it started. */
  kill(): Promise<Ended>
}

export interface Processes {
  spawn(command: string, args: readonly string[], options?: SpawnOptions): TestProcess
  /** `keyturn …args` from dist. */
  cli(args: readonly string[], options?: SpawnOptions): TestProcess
  /** `keyturn worker --node NODE --config FILE`, not waited for. */
  worker(node: string, configFile: string, options?: SpawnOptions): TestProcess
}

/**
 * Call it at the top of a describe. Every process that it spawns is ended after each test (with `file`, after all tests),
 * also when the test fails or vitest is killed.
 */
export function processes(until: 'test' | 'file' = 'test'): Processes {
  const running = new Set<SupervisedChild>()
  const killAll = async () => {
    await Promise.all([...running].map((process) => process.kill()))
    running.clear()
  }
  if (until === 'test') afterEach(killAll)
  else afterAll(killAll)

  const spawn: Processes['spawn'] = (command, args, options = {}) => {
    const env = { ...process.env, NO_COLOR: '1', ...options.env }
    const child = spawnSupervised({ command, args, ...options, env })
    running.add(child)
    return track(child, `${command} ${args.join(' ')}`)
  }
  const cli: Processes['cli'] = (args, options) => spawn(process.execPath, [main, ...args], options)
  return {
    spawn,
    cli,
    worker: (node, configFile, options) =>
      cli(['worker', '--node', node, '--config', configFile], options),
  }
}

function track(process: SupervisedChild, title: string): TestProcess {
  let stdout = ''
  let stderr = ''
  process.child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  process.child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const closed = new Promise((resolve) => process.child.once('close', resolve))
  const tail = () => `\n--- stdout\n${stdout.slice(-2000)}\n--- stderr\n${stderr.slice(-4000)}`

  const find = (pattern: RegExp | string) =>
    `${stdout}\n${stderr}`
      .split('\n')
      .find((text) => (typeof pattern === 'string' ? text.includes(pattern) : pattern.test(text)))

  return {
    pid: process.pid,
    process,
    stdout: () => stdout,
    stderr: () => stderr,
    line: (pattern, withinMs = 60_000) =>
      waitUntil(
        `no line ${String(pattern)} of ${title}`,
        async () => {
          const line = find(pattern)
          if (line !== undefined) return line
          if (!process.hasEnded()) return null
          await closed
          const last = find(pattern)
          if (last !== undefined) return last
          throw new Error(`${title} ended without a line ${String(pattern)}${tail()}`)
        },
        { withinMs, everyMs: 20 },
      ).catch((error: unknown) => {
        throw new Error(`${(error as Error).message}${tail()}`, { cause: error })
      }),
    exit: async (withinMs = 60_000) => {
      await waitUntil(`${title} still runs`, () => process.hasEnded(), {
        withinMs,
        everyMs: 10,
      }).catch((error: unknown) => {
        throw new Error(`${(error as Error).message}${tail()}`, { cause: error })
      })
      await closed
      return { ...(await process.ended), stdout, stderr }
    },
    stop: () => process.stop(),
    kill: () => process.kill(),
  }
}
