import { KeyturnError, isErrorCode } from '../../contracts/errors.ts'
import type { ErrorReport } from '../../contracts/errors.ts'
import { spawnSupervised } from '../supervised-child.ts'
import type { Stack } from '../stack.ts'
import { commandLine } from '../worker-process.ts'
import type { Reporter } from './reporter.ts'

/** Longest that any command of the demo may take. */
const commandMs = 15 * 60_000

/** A command that was started and not yet waited for. */
export interface RunningCommand<T> {
  readonly answer: Promise<T>
}

/** Runs the real command line as a child process with `--json`, and shows each command as a person would type it. */
export interface Commands {
  /** Resolves with the answer; rejects with the command's own error when it ends with another code than 0. */
  run<T>(...words: string[]): Promise<T>
  /** The same without being shown. */
  quietly<T>(...words: string[]): Promise<T>
  start<T>(...words: string[]): RunningCommand<T>
}

export function commandsOn(stack: Stack, reporter: Reporter): Commands {
  const quietly = <T>(...words: string[]) => execute<T>(stack, words)
  return {
    quietly,
    run: <T>(...words: string[]) => {
      reporter.command(words)
      return quietly<T>(...words)
    },
    start: <T>(...words: string[]) => {
      reporter.command(words)
      const answer = quietly<T>(...words)
      // Avoids an unhandled rejection; a later await of `answer` still rejects.
      answer.catch(() => undefined)
      return { answer }
    },
  }
}

async function execute<T>(stack: Stack, words: readonly string[]): Promise<T> {
  const child = spawnSupervised({
    command: process.execPath,
    args: [commandLine(), ...words, '--json', '--yes', '--config', stack.configPath],
    env: stack.env,
  })
  let stdout = ''
  let stderr = ''
  child.child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const closed = new Promise((resolve) => child.child.once('close', resolve))
  const timer = setTimeout(() => void child.kill(), commandMs)
  const { code, signal } = await child.ended
  clearTimeout(timer)
  await closed
  if (code === 0) return (stdout.trim() === '' ? {} : JSON.parse(stdout)) as T
  throw failure(words, (code ?? signal ?? '').toString(), stdout, stderr)
}

function failure(
  words: readonly string[],
  end: string,
  stdout: string,
  stderr: string,
): KeyturnError {
  const report = reportIn(stdout)
  const reason = report?.message ?? stderr.trim().split('\n').at(-1) ?? ''
  const code = isErrorCode(report?.code) ? report.code : 'internal'
  return new KeyturnError(code, `keyturn ${words.join(' ')} ended with ${end}: ${reason}`, {
    ...(report?.hint === undefined ? {} : { hint: report.hint }),
  })
}

function reportIn(stdout: string): ErrorReport | undefined {
  try {
    return (JSON.parse(stdout) as { error?: ErrorReport }).error
  } catch {
    return undefined
  }
}
