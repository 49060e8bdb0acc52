import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { withProgress } from './progress.ts'
import type { Print } from './progress.ts'
import { runCommand } from './run-command.ts'
import { systemPackages } from './system-packages.ts'

export interface SoftHsm {
  readonly modulePath: string
  readonly version: string
}

/** Where distributions and Homebrew put the module. */
const folders = [
  '/usr/lib/softhsm',
  '/usr/lib/x86_64-linux-gnu/softhsm',
  '/usr/lib/aarch64-linux-gnu/softhsm',
  '/usr/lib64/softhsm',
  '/usr/lib64/pkcs11',
  '/usr/local/lib/softhsm',
  '/opt/homebrew/lib/softhsm',
]
/** The variable with the module's path. If it is set, no other place is searched and nothing is installed. */
const variable = 'KEYTURN_SOFTHSM'

/** The module and a `softhsm2-util` that runs; null where either is missing. */
export async function findSoftHsm(env: NodeJS.ProcessEnv = process.env): Promise<SoftHsm | null> {
  const chosen = env[variable]
  const candidates = chosen ? [chosen] : folders.map((folder) => join(folder, 'libsofthsm2.so'))
  const modulePath = candidates.find((path) => existsSync(path))
  if (modulePath === undefined) return null
  const end = await runCommand('softhsm2-util', ['--version'], { timeoutMs: 10_000 })
  return end.code === 0 ? { modulePath, version: end.stdout.trim() } : null
}

/** The command that installs it. */
export function installCommand(): string {
  if (process.platform === 'darwin') return 'brew install softhsm opensc'
  return existsSync('/usr/bin/apt-get')
    ? 'sudo apt-get update && sudo apt-get install -y softhsm2 opensc'
    : 'install the packages softhsm2 (or softhsm) and opensc of your system'
}

/**
 * Finds SoftHSM2, or installs the system's package through apt if that needs no password: as root, or with a passwordless
 * sudo. Otherwise prints the command and returns null: the demo then uses the `env` provider.
 */
export async function ensureSoftHsm(print: Print): Promise<SoftHsm | null> {
  const found = await findSoftHsm()
  if (found !== null) return found
  if (process.env[variable]) {
    print(`${variable} names no SoftHSM2 that works: "${process.env[variable]}"`)
    return null
  }
  const install = await systemPackages()
  if (install !== null) {
    const packages = ['softhsm2', 'opensc']
    await withProgress(print, 'installing softhsm2 and opensc', install(packages))
  }
  const installed = await findSoftHsm()
  if (installed === null) print(`SoftHSM2 is not installed; to install it: ${installCommand()}`)
  return installed
}
