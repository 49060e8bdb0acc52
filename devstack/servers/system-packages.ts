import { existsSync } from 'node:fs'
import { runCommand } from './run-command.ts'

/**
 * Whether packages of the system can be installed without a password: with apt, as root or with a passwordless sudo. Then
 * it returns the function that does it.
 */
export async function systemPackages(): Promise<
  ((names: readonly string[]) => Promise<void>) | null
> {
  const prefix = await rootPrefix()
  if (prefix === null) return null
  const apt = async (...args: string[]) => {
    const [command = '', ...rest] = [...prefix, 'apt-get', ...args]
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    return runCommand(command, rest, { env, timeoutMs: 5 * 60_000 })
  }
  return async (names) => {
    await apt('update', '-q')
    await apt('install', '-y', '-q', '--no-install-recommends', ...names)
  }
}

/** The prefix of an apt-get that needs no password; null where there is none. */
async function rootPrefix(): Promise<string[] | null> {
  if (!existsSync('/usr/bin/apt-get')) return null
  if (process.getuid?.() === 0) return []
  const sudo = await runCommand('sudo', ['-n', 'true'], { timeoutMs: 5_000 })
  return sudo.code === 0 ? ['sudo', '-n'] : null
}
