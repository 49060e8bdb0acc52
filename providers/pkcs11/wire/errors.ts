import { KeyturnError, type ErrorCode } from '../../../contracts/errors.ts'
import { CKR_ARGUMENTS_BAD, CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_PIN_LOCKED } from './ckr-codes.ts'
import { ckrHint } from './ckr-hints.ts'
import { ckrNames } from './ckr-names.ts'

/**
 * What is done about a return code of the module. `session`: open a new session, once. `reconnect`: start a new child
 * process, log in, find the keys, open the canary. `back-off`: use fewer lanes, pause, retry. `key`: look the key up again,
 * once. `data`: the envelope or the token is at fault, the canary shows which. `pin`: never retry. `never`: no retry helps.
 */
export type FaultClass = 'session' | 'reconnect' | 'back-off' | 'key' | 'data' | 'pin' | 'never'

/** Numbers and names of PKCS#11 v3.1, section 6 ("pkcs11t.h"), with Keyturn's class; all others are `never`. */
const table: readonly (readonly [number, string, FaultClass])[] = [
  [5, 'CKR_GENERAL_ERROR', 'data'], // SoftHSM 2.6.1 answers a wrong tag with it
  [6, 'CKR_FUNCTION_FAILED', 'back-off'], // AWS CloudHSM: throttled
  [7, 'CKR_ARGUMENTS_BAD', 'never'],
  [48, 'CKR_DEVICE_ERROR', 'reconnect'],
  [49, 'CKR_DEVICE_MEMORY', 'back-off'],
  [50, 'CKR_DEVICE_REMOVED', 'reconnect'],
  [53, 'CKR_AEAD_DECRYPT_FAILED', 'data'],
  [64, 'CKR_ENCRYPTED_DATA_INVALID', 'data'],
  [65, 'CKR_ENCRYPTED_DATA_LEN_RANGE', 'data'],
  [84, 'CKR_FUNCTION_NOT_SUPPORTED', 'never'],
  [96, 'CKR_KEY_HANDLE_INVALID', 'key'],
  [104, 'CKR_KEY_FUNCTION_NOT_PERMITTED', 'never'],
  [112, 'CKR_MECHANISM_INVALID', 'never'],
  [113, 'CKR_MECHANISM_PARAM_INVALID', 'never'],
  [130, 'CKR_OBJECT_HANDLE_INVALID', 'key'],
  [144, 'CKR_OPERATION_ACTIVE', 'session'],
  [145, 'CKR_OPERATION_NOT_INITIALIZED', 'session'],
  [160, 'CKR_PIN_INCORRECT', 'pin'],
  [161, 'CKR_PIN_INVALID', 'pin'],
  [162, 'CKR_PIN_LEN_RANGE', 'pin'],
  [163, 'CKR_PIN_EXPIRED', 'pin'],
  [164, 'CKR_PIN_LOCKED', 'pin'],
  [176, 'CKR_SESSION_CLOSED', 'session'],
  [177, 'CKR_SESSION_COUNT', 'back-off'],
  [179, 'CKR_SESSION_HANDLE_INVALID', 'session'],
  [209, 'CKR_TEMPLATE_INCONSISTENT', 'never'],
  [224, 'CKR_TOKEN_NOT_PRESENT', 'reconnect'],
  [257, 'CKR_USER_NOT_LOGGED_IN', 'reconnect'],
  [258, 'CKR_USER_PIN_NOT_INITIALIZED', 'pin'],
  [259, 'CKR_USER_TYPE_INVALID', 'pin'], // some tokens count it as a wrong PIN
  [400, 'CKR_CRYPTOKI_NOT_INITIALIZED', 'reconnect'],
]
const rows = new Map(table.map(([ckr, name, fault]) => [ckr, { name, fault }]))

/** A return code of the module other than CKR_OK: the function, and the number with its standard name. */
export class CkrError extends Error {
  override readonly name = 'CkrError'
  readonly method: string
  readonly ckr: number

  constructor(method: string, ckr: number) {
    super(`${method} answered ${ckrName(ckr)} (${ckr})`)
    this.method = method
    this.ckr = ckr
  }

  get fault(): FaultClass {
    return faultOf(this.ckr)
  }
}

/**
 * The token can neither use a key that exists nor open what it has just wrapped. Whatever the code, the token or its client
 * library is at fault; some libraries are dead until they are loaded again.
 */
export class TokenTrouble extends CkrError {
  constructor({ method, ckr }: CkrError) {
    super(method, ckr)
  }

  override get fault(): FaultClass {
    return 'data'
  }
}

/** A key that is missing, a different key, or unusable: the version counts as not loaded from now on. */
export class KeyFault extends KeyturnError {
  readonly version: number

  constructor(version: number, cause: KeyturnError) {
    super(cause.code, cause.message, cause.hint === undefined ? {} : { hint: cause.hint })
    this.version = version
  }
}

export function ckrName(ckr: number): string {
  const known = rows.get(ckr)?.name ?? ckrNames.get(ckr)
  return known ?? (ckr >= 0x8000_0000 ? 'a vendor code' : 'CKR_UNKNOWN')
}

export function faultOf(ckr: number): FaultClass {
  return rows.get(ckr)?.fault ?? 'never'
}

/** A failure, as a lane reports it to the pool: error code and message, and the module's return code if there was one. */
export interface Fault {
  code: ErrorCode
  message: string
  hint?: string | undefined
  fault: FaultClass
  ckr?: number | undefined
  /** The version of a key fault. */
  version?: number | undefined
}

/** Describes any error of a lane. Messages for return codes hold no secret: only function, name and number. */
export function faultFrom(error: unknown): Fault {
  if (error instanceof CkrError) {
    return { ...codeOf(error), message: error.message, fault: error.fault, ckr: error.ckr }
  }
  if (error instanceof KeyturnError) {
    const version = error instanceof KeyFault ? error.version : undefined
    return { code: error.code, message: error.message, hint: error.hint, fault: 'never', version }
  }
  return { code: 'internal', message: `the lane failed: ${String(error)}`, fault: 'never' }
}

/** The error that a caller of the provider gets. */
export function errorFrom(fault: Fault): KeyturnError {
  return new KeyturnError(fault.code, fault.message, fault.hint ? { hint: fault.hint } : {})
}

function codeOf(error: CkrError): { code: ErrorCode; hint?: string } {
  const hint = ckrHint(error.ckr, faultOf(error.ckr))
  if (error.fault === 'reconnect') return { code: 'hsm-away', hint }
  if (error.fault === 'pin')
    return error.ckr === CKR_PIN_LOCKED ? pinLocked : { code: 'pin-refused', hint }
  if (error.ckr === CKR_KEY_FUNCTION_NOT_PERMITTED && error.method.startsWith('C_Encrypt')) {
    return { code: 'cannot-encrypt', hint: 'its CKA_ENCRYPT is false: make a new version' }
  }
  if (error.method === 'C_Login' && error.ckr === CKR_ARGUMENTS_BAD) {
    return {
      code: 'hsm-failed',
      hint: "some clients (Fortanix) answer so when they cannot read their configuration file: check the file's owner and mode",
    }
  }
  return { code: 'hsm-failed', hint }
}

const pinLocked = {
  code: 'pin-locked',
  hint: "the token's security officer must set a new PIN",
} as const

/** The error of a job whose patience is over: `hsm-failed` becomes `hsm-away`, other codes stay. */
export function away(error: KeyturnError | undefined): KeyturnError {
  if (error !== undefined && error.code !== 'hsm-failed') return error
  return new KeyturnError('hsm-away', error?.message ?? 'the HSM does not answer', {
    hint: error?.hint ?? 'the HSM does not answer as it should: look at it and at its client',
  })
}

export function providerClosed(): KeyturnError {
  return new KeyturnError('pool-closed', 'the provider is closed')
}
