import { randomInt } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { KeyturnError } from '../contracts/errors.ts'
import { lastLine, runCommand } from './servers/run-command.ts'
import type { SoftHsm } from './servers/softhsm.ts'

/** A SoftHSM2 token in a folder of its own. Several processes on one folder are a fleet on one network HSM. */
export interface SoftToken {
  readonly modulePath: string
  readonly label: string
  /** The environment variable SOFTHSM2_CONF must name this file in every process that loads the module. */
  readonly conf: string
  readonly pin: string
  /** Mode 0600. */
  readonly pinFile: string
}

/** Makes and initialises a token below `folder`, with a random PIN. Throws `token-not-usable`. */
export async function makeSoftToken(
  softhsm: SoftHsm,
  folder: string,
  label: string,
): Promise<SoftToken> {
  const tokens = join(folder, 'tokens')
  await mkdir(tokens, { recursive: true, mode: 0o700 })
  const conf = join(folder, 'softhsm2.conf')
  // https://github.com/opendnssec/SoftHSMv2: the whole configuration file
  const settings = {
    'directories.tokendir': tokens,
    'objectstore.backend': 'file',
    'log.level': 'ERROR',
    'slots.removable': 'false',
  }
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}\n`)
  await writeFile(conf, lines.join(''))
  const pin = digits()
  const pinFile = join(folder, 'pin')
  await writeFile(pinFile, pin, { mode: 0o600 })
  await initialise(conf, label, pin)
  return { modulePath: softhsm.modulePath, label, conf, pin, pinFile }
}

/** The token that an earlier run made in this folder, or a new one. */
export async function openSoftToken(
  softhsm: SoftHsm,
  folder: string,
  label: string,
): Promise<SoftToken> {
  const pinFile = join(folder, 'pin')
  if (!existsSync(pinFile)) return makeSoftToken(softhsm, folder, label)
  const pin = await readFile(pinFile, 'utf8')
  return {
    modulePath: softhsm.modulePath,
    label,
    conf: join(folder, 'softhsm2.conf'),
    pin,
    pinFile,
  }
}

async function initialise(conf: string, label: string, pin: string): Promise<void> {
  // softhsm2-util takes the PIN only from its arguments or a terminal. It runs for a few milliseconds; no long-lived process
  // gets the PIN as an argument.
  const end = await runCommand(
    'softhsm2-util',
    ['--init-token', '--free', '--label', label, '--pin', pin, '--so-pin', digits()],
    { env: { ...process.env, SOFTHSM2_CONF: conf }, timeoutMs: 20_000 },
  )
  if (end.code === 0) return
  throw new KeyturnError(
    'token-not-usable',
    `could not initialise the token "${label}": "${lastLine(end.stderr)}"`,
  )
}

function digits(): string {
  return Array.from({ length: 12 }, () => randomInt(10).toString()).join('')
}
