import { execa } from 'execa'

export interface CommandEnd {
  /** Null when the program could not be started or a signal ended it. */
  code: number | null
  stdout: string
  stderr: string
}

/** Runs a short program to its end; never rejects. `env` replaces the environment. */
export async function runCommand(
  command: string,
  args: readonly string[],
  { env, timeoutMs }: { env?: NodeJS.ProcessEnv; timeoutMs?: number } = {},
): Promise<CommandEnd> {
  const end = await execa(command, args, {
    reject: false,
    stdin: 'ignore',
    extendEnv: env === undefined,
    ...(env === undefined ? {} : { env }),
    ...(timeoutMs === undefined ? {} : { timeout: timeoutMs, killSignal: 'SIGKILL' as const }),
  })
  const stderr = end.stderr || (end.originalMessage ?? '')
  return { code: end.exitCode ?? null, stdout: end.stdout, stderr }
}

/** The last line of a program's complaint: enough for an error message. */
export function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)?.trim() ?? ''
}
