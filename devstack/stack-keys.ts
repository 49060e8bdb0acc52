import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ProviderName } from '../contracts/kek.ts'
import { KeyturnError } from '../contracts/errors.ts'
import { findSoftHsm, installCommand } from './servers/softhsm.ts'
import { openSoftToken } from './soft-token.ts'
import type { SoftToken } from './soft-token.ts'

export interface StackKeys {
  readonly token: SoftToken | null
  /** What every process of the fleet needs in its environment to reach its keys. */
  readonly env: Record<string, string>
}

/** The `env` provider cannot make keys, so a stack has this many from the beginning. */
const envVersions = 5
const envPrefix = 'KEYTURN_ENCRYPTION_ENV_KEK_V'

/** One token for all nodes, or one set of environment keys; those of an earlier run in this folder are used again. */
export async function makeKeys(
  provider: ProviderName,
  folder: string,
  label: string,
): Promise<StackKeys> {
  if (provider === 'env') return { token: null, env: await environmentKeys(folder) }
  const softhsm = await findSoftHsm()
  if (softhsm === null) {
    throw new KeyturnError('module-missing', 'SoftHSM2 is not installed', {
      hint: `${installCommand()}; or use --provider env`,
    })
  }
  const token = await openSoftToken(softhsm, folder, label)
  return { token, env: { SOFTHSM2_CONF: token.conf } }
}

async function environmentKeys(folder: string): Promise<Record<string, string>> {
  const file = join(folder, 'env-keys.json')
  if (existsSync(file)) return JSON.parse(await readFile(file, 'utf8')) as Record<string, string>
  const keys = Object.fromEntries(
    Array.from({ length: envVersions }, (_, index) => [
      `${envPrefix}${(index + 1).toString()}`,
      randomBytes(32).toString('hex'),
    ]),
  )
  await writeFile(file, JSON.stringify(keys), { mode: 0o600 })
  return keys
}
