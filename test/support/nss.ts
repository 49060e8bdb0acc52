import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Where Debian (libnss3) and Fedora (nss-softokn) put it. */
const paths = ['/usr/lib/x86_64-linux-gnu/libsoftokn3.so', '/usr/lib64/libsoftokn3.so']

export interface NssToken {
  readonly folder: string
  readonly modulePath: string
  /** What C_Initialize must be told to find the database. */
  readonly moduleParameters: string
  /** Of the slot that keeps keys; the other one (`NSS Generic Crypto Services`) has no user. */
  readonly label: 'NSS Certificate DB'
  readonly pin: string
  remove(): Promise<void>
}

/** Path of NSS softokn, a second real implementation beside SoftHSM2; null where it or certutil is not installed. */
export async function findNss(): Promise<string | null> {
  const found = paths.find((path) => existsSync(path))
  const tool = await run('certutil', ['-H']).catch((error: unknown) => error)
  return (tool as { code?: unknown }).code === 'ENOENT' ? null : (found ?? null)
}

/** A fresh key database with a PIN, made by certutil. */
export async function makeNssToken(modulePath: string): Promise<NssToken> {
  const base = join(process.cwd(), '.keyturn')
  await mkdir(base, { recursive: true })
  const folder = await mkdtemp(join(base, 'nss-'))
  const pin = 'pass: word 1'
  const pinFile = join(folder, 'pin')
  await writeFile(pinFile, `${pin}\n`, { mode: 0o600 })
  await run('certutil', ['-N', '-d', `sql:${folder}`, '-f', pinFile])
  return {
    folder,
    modulePath,
    moduleParameters: `configDir='sql:${folder}'`,
    label: 'NSS Certificate DB',
    pin,
    remove: () => rm(folder, { recursive: true, force: true }),
  }
}
