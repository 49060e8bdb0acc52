import { spawn } from 'node:child_process'

export interface CommandEnd {
  /** Null when the program could not be started or a signal ended it. */
  code: number | null
  stdout: string
  stderr: string
}

/** Runs a short program to its end; never rejects. */
export function runCommand(
  command: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; timeoutMs?: number } = {},
): Promise<CommandEnd> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(options.env === undefined ? {} : { env: options.env }),
      ...(options.timeoutMs === undefined
        ? {}
        : { timeout: options.timeoutMs, killSignal: 'SIGKILL' as const }),
    })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    child.on('error', (error) => {
      resolve({ code: null, stdout, stderr: stderr + error.message })
    })
    child.on('close', (code) => {
      resolve({ code, stdout, stderr })
    })
  })
}

/** The last line of a program's complaint: enough for an error message. */
export function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)?.trim() ?? ''
}
