import { KeyturnError } from '../contracts/errors.ts'
import type { Pkcs11Config } from '../contracts/settings.ts'
import { readPrivate } from './private-file.ts'

const BYTE_ORDER_MARK = '\uFEFF'

export interface Pin {
  readonly pin: string
  /** For the log; the PIN is never in them. */
  readonly warnings: string[]
}

/**
 * The token's PIN: `pin_file`, else `pin` (with a warning), else the variable `pin_env`. It is passed to the module
 * unchanged, except that one newline at the end of the file is cut. Throws `pin-missing` (also for an empty PIN, which HSMs
 * count as a login attempt) and `pin-file-unsafe`. The first source that is configured counts; a bad one never falls
 * through to the next.
 */
export function readPin(pkcs11: Pkcs11Config, env: NodeJS.ProcessEnv): Pin {
  if (pkcs11.pinFile !== undefined) return fromFile(pkcs11.pinFile, pkcs11.pin !== undefined)
  if (pkcs11.pin !== undefined) {
    const { pin } = pkcs11
    notEmpty(pin, '"kek.pkcs11.pin" is empty', 'write the PIN to a pin_file instead')
    const inYaml = 'the PIN is in keyturn.yaml ("kek.pkcs11.pin"): put it into a pin_file'
    return { pin, warnings: [inYaml, ...oddities(pin, 'the PIN in "kek.pkcs11.pin"')] }
  }
  const value = env[pkcs11.pinEnv]
  const hint = `set ${pkcs11.pinEnv}, or pin_file in keyturn.yaml`
  if (value === undefined) {
    throw new KeyturnError('pin-missing', `no PIN: variable "${pkcs11.pinEnv}" is not set`, {
      hint,
    })
  }
  const pin = notEmpty(value, `PIN variable "${pkcs11.pinEnv}" is empty`, hint)
  return { pin, warnings: oddities(pin, `the PIN in variable "${pkcs11.pinEnv}"`) }
}

/** Whether any source is configured; the source is not read. */
export function hasPinSource(pkcs11: Pkcs11Config, env: NodeJS.ProcessEnv): boolean {
  const { pinFile, pin, pinEnv } = pkcs11
  return pinFile !== undefined || pin !== undefined || env[pinEnv] !== undefined
}

function fromFile(file: string, alsoValue: boolean): Pin {
  const text = readPinFile(file)
  const pin = text.endsWith('\n') ? text.slice(0, -1) : text
  notEmpty(pin, `PIN file "${file}" is empty`, `write the PIN into it: printf %s PIN > ${file}`)
  const ignored = alsoValue ? ['"kek.pkcs11.pin" is ignored beside "pin_file": delete it'] : []
  return { pin, warnings: [...ignored, ...oddities(pin, `the PIN in "${file}"`)] }
}

/** Characters that editors and shells leave around a PIN; the warning comes before a login attempt is spent. */
function oddities(pin: string, where: string): string[] {
  const odd: [boolean, string][] = [
    [pin.startsWith(BYTE_ORDER_MARK), 'begins with a byte order mark'],
    [/^\s/.test(pin.replace(BYTE_ORDER_MARK, '')), 'begins with white space'],
    [/\s$/.test(pin), 'ends with white space'],
  ]
  return odd
    .filter(([isThere]) => isThere)
    .map(([, what]) => `${where} ${what}, which is sent to the token as part of it`)
}

function readPinFile(file: string): string {
  const bytes = readPrivate({
    file,
    noun: 'PIN file',
    missing: 'pin-missing',
    unsafe: 'pin-file-unsafe',
  })
  try {
    return textOf(file, bytes)
  } catch (cause) {
    if (cause instanceof KeyturnError) throw cause
    throw new KeyturnError('pin-missing', `PIN file "${file}" is not UTF-8 text`, { cause })
  }
}

/** Refuses UTF-16: no token has such a PIN, and its bytes would cost a login attempt. */
function textOf(file: string, bytes: Buffer): string {
  const isUtf16 = bytes.includes(0) || /^(fffe|feff)/.test(bytes.toString('hex', 0, 2))
  if (isUtf16) {
    throw new KeyturnError(
      'pin-missing',
      `PIN file "${file}" is not UTF-8 text: it looks like UTF-16`,
      {
        hint: `save it as UTF-8 without a byte order mark: printf %s PIN > ${file}`,
      },
    )
  }
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
}

function notEmpty(pin: string, message: string, hint: string): string {
  if (pin === '') throw new KeyturnError('pin-missing', message, { hint })
  return pin
}
