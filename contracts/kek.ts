import type { ErrorReport } from './errors.ts'

export type ProviderName = 'env' | 'pkcs11'

/** Who chooses the IV of a wrap, and where it is found (PKCS#11 v3.1 §6.13; vendors differ). */
export type IvMode = 'caller' | 'hsm-writes-iv' | 'output-prefix' | 'output-suffix'

/** How a token does AES-GCM, as the probe found it. Lengths are in bytes, `tagBits` in bits. */
export interface GcmProfile {
  ivMode: IvMode
  ivLength: number
  tagBits: 128
}

/** A secret wrapped at installation: a process that unwraps it to `digest` (SHA-256, 32 bytes) has the same key. */
export interface Canary {
  dekIv: Uint8Array
  dekWrapped: Uint8Array
  digest: Uint8Array
}

/** What a provider needs to find a version's key and to prove that it is the right one. */
export interface KekDescriptor {
  version: number
  provider: ProviderName
  /** The key's CKA_LABEL, or the name of the environment variable. */
  label: string
  /** CKA_ID; null for `env`. */
  keyId: Uint8Array | null
  gcm: GcmProfile
  canary: Canary
}

/** States of NIST SP 800-57 part 1, section 7, as far as Keyturn uses them. `installing` is an intent without a canary. */
export type VersionState =
  'installing' | 'pre-active' | 'active' | 'deactivated' | 'pending-removal' | 'destroyed'

export interface ProbePhase {
  phase: 'mechanisms' | 'key-generation' | 'aead' | 'clean-up'
  ok: boolean
  detail: string
  milliseconds: number
  /** The error that ended the phase, if it was not a finding. */
  error?: ErrorReport
}

/** The shape of `pkcs11-init --probe-only --json`. */
export interface ProbeReport {
  module: string
  token: {
    label: string
    serial: string
    manufacturer: string
    model: string
    firmware: string
  } | null
  /** The module's vendor, if known; `caution` says why not to use it, or not in production. */
  vendor: { name: string; support: string; caution: string | null; page: string } | null
  /** Problems that do not make the token unusable. */
  warnings: string[]
  phases: ProbePhase[]
  gcm: { ivMode: IvMode; ivLength: number; tagBits: number } | null
  /** `max` null: no limit. */
  sessions: { max: number | null }
  /** CKR number of the answer to a wrong tag. */
  tamperCode: number | null
  /** CKR numbers for a changed tag, AAD and IV; null if no mode was found. */
  tamper: { tag: number; aad: number; iv: number } | null
  usable: boolean
}

/** What became of the object in the HSM. `absent`: looked for and not found. `none`: the key was never in an HSM. */
export type HsmKeyState = 'destroyed' | 'absent' | 'kept' | 'none'
