import { KeyturnError, type ErrorCode } from '../../../contracts/errors.ts'
import type { GcmProfile, ProbePhase, ProbeReport } from '../../../contracts/kek.ts'
import { vendorHint } from '../vendors/catalogue.ts'
import type { Vendor } from '../vendors/vendor.ts'

/** A fault that a phase found, with a hint that applies to any module. */
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

/** The token made a key with wrong attributes. */
export function attributesWrong(wrong: readonly string[]): Finding {
  return {
    code: 'token-not-usable',
    message: `the token made a key that is not ${wrong.join(', ')}`,
    hint: 'look for a policy of the token that changes the attributes of new keys',
  }
}

/** Reusing an IV under one key reveals plaintexts and allows forgeries. */
export function ivsRepeat({ wraps, different }: { wraps: number; different: number }): Finding {
  return {
    code: 'token-not-usable',
    message: `the token used an IV twice: ${wraps} wraps had ${different} different IVs`,
    hint: 'a repeated IV breaks AES-GCM: do not use this token, and ask the HSM vendor',
  }
}

/** No way of AES-GCM works: the setting excludes the others, one is broken, or the token has none. */
export function aeadRefused(detail: string, forced: boolean, broken: boolean): Finding {
  if (forced && !broken) {
    return {
      code: 'iv-mode-refused',
      message: `the token does not support this setting of kek.pkcs11.use_gcm_iv_from_hsm: ${detail}`,
      hint: 'set kek.pkcs11.use_gcm_iv_from_hsm to auto',
    }
  }
  return {
    code: 'token-not-usable',
    message: `AES-GCM works in none of the known ways: ${detail}`,
    hint: 'the report lists the answer to each way; ask the HSM vendor who chooses the IV',
  }
}

/** The throwaway key may still exist, so the message names its label and id. */
export function notCleanedUp(label: string, keyId: Buffer, cause: KeyturnError): Finding {
  return {
    code: cause.code,
    message: `the throwaway key could not be destroyed: ${cause.message}`,
    hint: `if it exists, the next probe on this host destroys it, or destroy it with the HSM vendor's tool: label "${label}", id ${keyId.toString('hex')}`,
  }
}

/** The finding as it is reported, with the vendor's hint after ours. */
export function errorOf(finding: Finding, vendor: Vendor | null): NonNullable<ProbePhase['error']> {
  const { code, message, hint } = finding
  const added = vendorHint(vendor, { code })
  return { code, message, hint: added === null ? hint : `${hint}; ${added}` }
}

/** The error for a probed token that is not usable; null if it is usable. */
export function probeFailure(report: ProbeReport): KeyturnError | null {
  if (report.usable) return null
  const error = report.phases.find((phase) => !phase.ok)?.error
  if (error === undefined) return new KeyturnError('token-not-usable', 'no phase was run')
  return new KeyturnError(error.code, error.message, error.hint ? { hint: error.hint } : {})
}

/** The GCM profile of a usable report. */
export function profileFrom(report: ProbeReport): GcmProfile {
  const failure = probeFailure(report)
  if (failure !== null || report.gcm === null) {
    throw failure ?? new KeyturnError('token-not-usable', 'the probe found no way to use AES-GCM')
  }
  return { ivMode: report.gcm.ivMode, ivLength: report.gcm.ivLength, tagBits: 128 }
}
