import { KeyturnError, type ErrorCode } from '../../../contracts/errors.ts'
import type { GcmProfile, ProbePhase, ProbeReport } from '../../../contracts/kek.ts'
import { vendorHint } from '../vendors/catalogue.ts'
import type { Vendor } from '../vendors/vendor.ts'

/** What a phase found to be wrong: the code, and a hint for those whose module is not in the catalogue. */
export interface Finding {
  code: ErrorCode
  message: string
  hint: string
}

export function mechanismsMissing(missing: readonly string[]): Finding {
  return {
    code: 'mechanism-missing',
    message: `HSM does not support ${missing.join(', ')}`,
    hint: 'a token needs CKM_AES_KEY_GEN and CKM_AES_GCM; pkcs11-tool --module MODULE -M lists what it has',
  }
}

/** A key as the token made it, or as an administrator did. */
export function attributesWrong(wrong: readonly string[]): Finding {
  return {
    code: 'token-not-usable',
    message: `the token made a key that is not ${wrong.join(', ')}`,
    hint: 'look for a policy of the token that changes what keys are made with',
  }
}

/** An IV that is used twice under one key gives away what was wrapped, and lets anybody forge. */
export function ivsRepeat({ wraps, different }: { wraps: number; different: number }): Finding {
  return {
    code: 'token-not-usable',
    message: `the token used an IV twice: ${wraps} wraps had ${different} different IVs`,
    hint: 'AES-GCM is broken by that: do not use this token, and ask the HSM vendor',
  }
}

/** No way of AES-GCM is left: because the setting rules the others out, because one of them is broken, or at all. */
export function aeadRefused(detail: string, forced: boolean, broken: boolean): Finding {
  if (forced && !broken) {
    return {
      code: 'iv-mode-refused',
      message: `the token does not do what kek.pkcs11.use_gcm_iv_from_hsm asks for: ${detail}`,
      hint: 'set kek.pkcs11.use_gcm_iv_from_hsm to auto',
    }
  }
  return {
    code: 'token-not-usable',
    message: `AES-GCM works in none of the ways known: ${detail}`,
    hint: 'the report says what was answered to each way; ask the HSM vendor who chooses the IV',
  }
}

/** The throwaway key may be there still: whoever reads this must know its name. */
export function notCleanedUp(label: string, keyId: Buffer, cause: KeyturnError): Finding {
  return {
    code: cause.code,
    message: `the throwaway key could not be destroyed: ${cause.message}`,
    hint: `if it is there the next probe of this host destroys it, or the HSM vendor's tool: label ${label}, id ${keyId.toString('hex')}`,
  }
}

/** The finding as it stands in the report, with the vendor's advice behind our own. */
export function errorOf(finding: Finding, vendor: Vendor | null): NonNullable<ProbePhase['error']> {
  const { code, message, hint } = finding
  const say = vendorHint(vendor, { code })
  return { code, message, hint: say === null ? hint : `${hint}; ${say}` }
}

/** The error that a command or an installation ends with when a token was probed and is not usable; null if it is. */
export function probeFailure(report: ProbeReport): KeyturnError | null {
  if (report.usable) return null
  const error = report.phases.find((phase) => !phase.ok)?.error
  if (error === undefined) return new KeyturnError('token-not-usable', 'no phase was run')
  return new KeyturnError(error.code, error.message, error.hint ? { hint: error.hint } : {})
}

/** Of a usable report. */
export function profileFrom(report: ProbeReport): GcmProfile {
  const failure = probeFailure(report)
  if (failure !== null || report.gcm === null) {
    throw failure ?? new KeyturnError('token-not-usable', 'the probe found no way to use AES-GCM')
  }
  return { ivMode: report.gcm.ivMode, ivLength: report.gcm.ivLength, tagBits: 128 }
}
