import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { inject } from 'vitest'
import { cacheFolder } from '../../devstack/servers/server-cache.ts'
import { freshName } from './fresh.ts'

const run = promisify(execFile)

/** Two tokens in one configuration, with one PIN. */
export interface KryopticTokens {
  readonly modulePath: string
  /** What C_Initialize takes: the path of the configuration. */
  readonly moduleParameters: string
  readonly labels: readonly [string, string]
  readonly pin: string
  remove: () => Promise<void>
}

/** The module that scripts/test-modules.mjs builds; null unless pkcs11-tool (Debian: opensc) is there to make tokens. */
export async function findKryoptic(): Promise<string | null> {
  const path = join(cacheFolder(), '..', 'kryoptic', 'libkryoptic_pkcs11.so')
  const hasTool = await run('pkcs11-tool', ['--help']).then(
    () => true,
    (error: unknown) => (error as { code?: unknown }).code !== 'ENOENT',
  )
  return hasTool && existsSync(path) ? path : null
}

export async function makeKryopticTokens(): Promise<KryopticTokens> {
  const modulePath = inject('kryoptic')
  if (modulePath === null) throw new Error('Kryoptic is not built')
  const base = join(process.cwd(), '.keyturn')
  await mkdir(base, { recursive: true })
  const folder = await mkdtemp(join(base, 'kryoptic-'))
  const labels = [freshName('kryoptic'), freshName('kryoptic')] as const
  const slots = labels.map((_, slot) =>
    [
      '[[slots]]',
      `slot = ${slot.toString()}`,
      'dbtype = "sqlite"',
      `dbargs = "${join(folder, `${slot.toString()}.sql`)}"`,
    ].join('\n'),
  )
  const conf = join(folder, 'token.conf')
  await writeFile(conf, `${slots.join('\n')}\n`)
  const pin = freshName('pin')
  const soPin = ['--so-pin', freshName('so-pin')]
  const env = { ...process.env, KRYOPTIC_CONF: conf }
  for (const [slot, label] of labels.entries()) {
    const onSlot = ['--module', modulePath, '--slot', slot.toString()]
    await run('pkcs11-tool', [...onSlot, '--init-token', '--label', label, ...soPin], { env })
    const asOfficer = ['--login', '--login-type', 'so', ...soPin]
    await run('pkcs11-tool', [...onSlot, '--init-pin', ...asOfficer, '--pin', pin], { env })
  }
  return {
    modulePath,
    moduleParameters: `kryoptic_conf=${conf}`,
    labels,
    pin,
    remove: () => rm(folder, { recursive: true, force: true }),
  }
}
