import { KeyturnError, type ErrorCode } from '../../../contracts/errors.ts'
import { CKR_ARGUMENTS_BAD, CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_PIN_LOCKED } from './ckr-codes.ts'
import { ckrHint } from './ckr-hints.ts'
import { ckrName, faultOf, type FaultClass } from './fault-class.ts'

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
