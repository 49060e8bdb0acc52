import { execFileSync, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { waitUntil } from '../../devstack/wait-until.ts'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** Whether util-linux's `script` is installed, which runs a command in a terminal. */
export function hasTerminals(): boolean {
  try {
    return execFileSync('script', ['--version']).toString().includes('util-linux')
  } catch {
    return false
  }
}

export interface TerminalEnd {
  code: number | null
  /** Everything that was on the screen, stdout and stderr in order. */
  screen: string
}

export interface Terminal {
  /** Resolves when this text is on the screen. */
  shows(text: string): Promise<void>
  /** Types the keys; end a line with `\r`. */
  type(keys: string): void
  /** Resolves when the command has ended. */
  end(): Promise<TerminalEnd>
}

/** Runs `keyturn …args` in its own terminal. It ends when this process ends, since its input closes. */
export function keyturnInTerminal(
  args: readonly string[],
  { env, cwd }: { env: NodeJS.ProcessEnv; cwd: string },
): Terminal {
  const words = [process.execPath, main, ...args].map((word) => `'${word}'`)
  const child = spawn('script', ['-qefc', words.join(' '), '/dev/null'], {
    cwd,
    env: { ...process.env, NO_COLOR: '1', TERM: 'xterm', COLUMNS: '200', ...env },
  })
  let screen = ''
  child.stdout.on('data', (chunk: Buffer) => (screen += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (screen += chunk.toString()))
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  const onScreen = () => `\n--- screen\n${screen.slice(-3000)}`
  return {
    shows: async (text) => {
      const isThere = () => screen.includes(text)
      await waitUntil(`"${text}" is not shown`, isThere, { withinMs: 60_000, everyMs: 20 }).catch(
        (error: unknown) => {
          child.kill('SIGKILL')
          throw new Error(`${String(error)}${onScreen()}`, { cause: error })
        },
      )
    },
    type: (keys) => child.stdin.write(keys),
    end: async () => ({ code: await ended, screen }),
  }
}
