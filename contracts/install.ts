import type { InstallIdentity } from './names.ts'
import type { ProbeReport, ProviderName } from './kek.ts'

export interface InstallInput {
  install: InstallIdentity
  /** The row of its task, in the keystore that it is for. */
  task: string
  version: number
  provider: ProviderName
  /** `generated` by us in the HSM, `registered` after an administrator made it, or from the `environment`. */
  origin: 'generated' | 'registered' | 'environment'
  /** Label to look for, of a registered key; null for the configured one. */
  label: string | null
  /** CKA_ID in hex of a registered key, if its label is ambiguous; absent or null for any. */
  keyId?: string | null
  requestedBy: string
}

export interface InstallResult {
  version: number
  label: string
  provider: ProviderName
  madeBy: string
  /** False if the version was already installed. */
  created: boolean
  active: boolean
  probe: ProbeReport | null
}

export interface VerifyInput {
  install: InstallIdentity
  /** The row of its task, in the keystore that it is for. */
  task: string
  target: number
}
