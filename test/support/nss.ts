import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { inject } from 'vitest'
import { freshName } from './fresh.ts'

const run = promisify(execFile)

/** Where Debian's libnss3 and similar packages install it. */
const places = [
  '/usr/lib/x86_64-linux-gnu/libsoftokn3.so',
  '/usr/lib/aarch64-linux-gnu/libsoftokn3.so',
  '/usr/lib64/libsoftokn3.so',
]

export interface NssToken {
  readonly modulePath: string
  /** The parameters that softokn needs in C_Initialize (NSS, "PKCS #11 Module Specs"). */
  readonly moduleParameters: string
  readonly label: string
  readonly pin: string
  remove(): Promise<void>
}

/** The path of the module; null unless certutil (Debian: libnss3-tools) is there to make a database for it. */
export async function findNss(): Promise<string | null> {
  const hasCertutil = await run('certutil', ['-H']).then(
    () => true,
    // certutil exits with a code other than 0 after its help.
    (error: unknown) => (error as { code?: unknown }).code !== 'ENOENT',
  )
  return hasCertutil ? (places.find((path) => existsSync(path)) ?? null) : null
}

/** A fresh database with a password, and a label for its key slot, which would otherwise have the default name. */
export async function makeNssToken(): Promise<NssToken> {
  const modulePath = inject('nss')
  if (modulePath === null) throw new Error('NSS is not installed')
  const base = join(process.cwd(), '.keyturn')
  await mkdir(base, { recursive: true })
  const folder = await mkdtemp(join(base, 'nss-'))
  const pin = freshName('pin')
  const pinFile = join(folder, 'pin')
  await writeFile(pinFile, pin, { mode: 0o600 })
  await run('certutil', ['-N', '-d', `sql:${folder}`, '-f', pinFile])
  const label = freshName('nss')
  const named = `dbTokenDescription='${label}' dbSlotDescription='${label}'`
  return {
    modulePath,
    moduleParameters: `configdir='sql:${folder}' certPrefix='' keyPrefix='' secmod='secmod.db' ${named}`,
    label,
    pin,
    remove: () => rm(folder, { recursive: true, force: true }),
  }
}
