import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { KeyturnError } from '../contracts/errors.ts'
import type { Pkcs11Config } from '../contracts/settings.ts'

export interface Pin {
  readonly pin: string
  /** For the log; the PIN is never in them. */
  readonly warnings: string[]
}

/**
 * The token's PIN: `pin_file`, else `pin` (with a warning), else the variable `pin_env`. It goes to the module as it is;
 * only a single newline at the end of the file is cut. Throws `pin-missing` (also for an empty one: HSMs count it as a
 * try) and `pin-file-unsafe`. The first source that is configured counts; a bad one never falls through to the next.
 */
export function readPin(pkcs11: Pkcs11Config, env: NodeJS.ProcessEnv): Pin {
  if (pkcs11.pinFile !== undefined) return fromFile(pkcs11.pinFile, pkcs11.pin !== undefined)
  if (pkcs11.pin !== undefined) {
    return {
      pin: notEmpty(pkcs11.pin, "'kek.pkcs11.pin' is empty", 'write the PIN to a pin_file instead'),
      warnings: ["the PIN stands in keyturn.yaml ('kek.pkcs11.pin'): put it into a pin_file"],
    }
  }
  const value = env[pkcs11.pinEnv]
  const hint = `set ${pkcs11.pinEnv}, or pin_file in keyturn.yaml`
  if (value === undefined) {
    throw new KeyturnError('pin-missing', `no PIN: variable '${pkcs11.pinEnv}' is not set`, {
      hint,
    })
  }
  return { pin: notEmpty(value, `PIN variable '${pkcs11.pinEnv}' is empty`, hint), warnings: [] }
}

/** Whether any source is configured; what it holds is not looked at. */
export function hasPinSource(pkcs11: Pkcs11Config, env: NodeJS.ProcessEnv): boolean {
  const { pinFile, pin, pinEnv } = pkcs11
  return pinFile !== undefined || pin !== undefined || env[pinEnv] !== undefined
}

function fromFile(file: string, alsoValue: boolean): Pin {
  const text = readPrivate(file)
  const pin = text.endsWith('\n') ? text.slice(0, -1) : text
  notEmpty(pin, `PIN file '${file}' is empty`, `write the PIN into it: printf %s PIN > ${file}`)
  const warnings = []
  if (alsoValue) warnings.push("'kek.pkcs11.pin' is ignored beside 'pin_file': delete it")
  if (/\s$/.test(pin)) {
    warnings.push(`the PIN in '${file}' ends with white space, which is taken as part of it`)
  }
  return { pin, warnings }
}

/** Opens first and looks at what was opened: the link's target counts, and it cannot be exchanged in between. */
function readPrivate(file: string): string {
  let descriptor: number
  try {
    // Without O_NONBLOCK, opening a pipe waits for its writer.
    descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new KeyturnError('pin-missing', `cannot read PIN file '${file}': ${code ?? 'failed'}`, {
      hint: 'make it, with mode 0400, for the user that runs keyturn',
      cause,
    })
  }
  try {
    checkPrivate(file, descriptor)
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
      readFileSync(descriptor),
    )
  } catch (cause) {
    if (cause instanceof KeyturnError) throw cause
    throw new KeyturnError('pin-missing', `PIN file '${file}' holds no text in UTF-8`, { cause })
  } finally {
    closeSync(descriptor)
  }
}

function checkPrivate(file: string, descriptor: number): void {
  const { mode, uid, isFile } = statOf(descriptor)
  const unsafe = (what: string, hint: string) =>
    new KeyturnError('pin-file-unsafe', `PIN file '${file}' ${what}`, { hint })
  if (!isFile) throw unsafe('is no regular file', 'name the file itself')
  if (mode !== 0o600 && mode !== 0o400) {
    throw unsafe(
      `has mode '${mode.toString(8).padStart(4, '0')}', not 0600 or 0400`,
      `run: chmod 0400 ${file}`,
    )
  }
  const self = process.geteuid?.()
  if (self !== undefined && uid !== self && uid !== 0) {
    throw unsafe(
      `belongs to another user (uid '${uid}')`,
      `run: chown ${self} ${file}, as the user that runs keyturn`,
    )
  }
}

function statOf(descriptor: number): { mode: number; uid: number; isFile: boolean } {
  const stats = fstatSync(descriptor)
  return { mode: stats.mode & 0o777, uid: stats.uid, isFile: stats.isFile() }
}

function notEmpty(pin: string, message: string, hint: string): string {
  if (pin === '') throw new KeyturnError('pin-missing', message, { hint })
  return pin
}
