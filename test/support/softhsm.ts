import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { inject } from 'vitest'
import { makeSoftToken } from '../../devstack/soft-token.ts'
import type { SoftToken } from '../../devstack/soft-token.ts'
import { freshName } from './fresh.ts'

export interface TestToken extends SoftToken {
  /** All files of the token are in this folder. */
  readonly folder: string
  /** Removes the folder. */
  remove(): Promise<void>
}

/**
 * A fresh SoftHSM2 token in a folder of its own. SOFTHSM2_CONF is read by the module in the process that loads it (the
 * lane's): set it to `conf` in that process's environment. Throws when SoftHSM2 is missing: guard the suite with
 * `describe.skipIf(inject('softhsm') === null)`.
 */
export async function makeToken(label: string = freshName('token')): Promise<TestToken> {
  const modulePath = inject('softhsm')
  if (modulePath === null) throw new Error('SoftHSM2 is not installed')
  const base = join(process.cwd(), '.keyturn')
  await mkdir(base, { recursive: true })
  const folder = await mkdtemp(join(base, 'token-'))
  const token = await makeSoftToken({ modulePath, version: '' }, folder, label)
  return { ...token, folder, remove: () => rm(folder, { recursive: true, force: true }) }
}

/** Number of secret keys in a token, as pkcs11-tool lists them. */
export async function secretKeysIn(token: TestToken): Promise<number> {
  const args = ['--module', token.modulePath, '--token-label', token.label, '--login']
  const { stdout } = await promisify(execFile)(
    'pkcs11-tool',
    [...args, '--pin', token.pin, '--list-objects', '--type', 'secrkey'],
    { env: { ...process.env, SOFTHSM2_CONF: token.conf } },
  )
  return stdout.match(/Secret Key Object/g)?.length ?? 0
}
