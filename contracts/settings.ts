import type { ProviderName } from './kek.ts'

/** The parsed, defaulted and frozen `keyturn.yaml`. All durations are milliseconds. */
export interface Config {
  /** Path of the file it was read from; for messages only. */
  readonly file: string
  readonly install: string
  readonly mongodb: { readonly uri: string; readonly database: string }
  /** Absent members come from the standard Temporal environment configuration. */
  readonly temporal: { readonly address?: string; readonly namespace?: string }
  readonly kek: KekConfig
  readonly collections: readonly CollectionConfig[]
  readonly fleet: FleetTimings
  readonly rewrap: RewrapConfig
  readonly removal: RemovalRules
  readonly worker: { readonly listen: string; readonly shutdownGraceMs: number }
  readonly log: { readonly level: string; readonly pretty: boolean | 'auto' }
}

export interface KekConfig {
  readonly provider: ProviderName
  readonly env: { readonly variablePrefix: string }
  /** Present when the provider is `pkcs11`. */
  readonly pkcs11?: Pkcs11Config
}

/** A token that has all of these; at least one is said. */
export interface TokenWanted {
  readonly slot?: number
  readonly label?: string
  readonly serial?: string
  readonly manufacturer?: string
  readonly model?: string
}

export interface Pkcs11Config {
  readonly modulePath: string
  /** A text for C_Initialize (pInitArgs, pReserved), for modules that want one: NSS, Kryoptic, YubiHSM 2. */
  readonly moduleParameters?: string
  /** How the token is found. */
  readonly token: TokenWanted
  /** Who logs in; `crypto-user` is a vendor's user type (Thales Luna). Absent: `user`. */
  readonly userType?: 'user' | 'crypto-user'
  /** Variables that the module needs besides those that lanes inherit. */
  readonly environment?: Readonly<Record<string, string>>
  readonly pinFile?: string
  readonly pin?: string
  readonly pinEnv: string
  readonly keyLabelPrefix: string
  readonly maxSessions: number
  readonly useGcmIvFromHsm: 'auto' | boolean
}

export interface CollectionConfig {
  readonly name: string
  /** Dotted paths of the envelope sub-documents; of a field with a layout, its name. */
  readonly envelopes: readonly string[]
  /** UUID of the collection when `setup` looked; never in a file. Absent where it could not be read. */
  readonly uuid?: string
  /** Of the fields whose envelopes have another shape than `keyturn-1`; absent where there is none. */
  readonly layouts?: readonly { readonly field: string; readonly layout: DeclaredLayout }[]
}

/** Where and how existing data keeps its wrapped DEKs. Paths are dotted, from the record's root. */
export interface DeclaredLayout {
  /** An integer. */
  readonly version: string
  readonly wrapped: string
  /** A path, or `prefix`: in front of `wrapped`, in the same value. */
  readonly iv: string
  readonly encoding: 'binary' | 'base64' | 'hex'
  readonly aad: 'none' | 'keyturn' | AadRecipe
}

/** SHA-256 over these parts: `id`, `field`, `collection`, `install`, `version`, `text:…`. */
export interface AadRecipe {
  readonly sha256: readonly string[]
  /** Between the parts; nothing where it is absent. */
  readonly separator?: string
}

export interface FleetTimings {
  readonly heartbeatMs: number
  readonly leaseMs: number
  readonly expireMs: number
  /** A loaded version is proven anew after so long without use. */
  readonly proveMs: number
}

/** `fleet.prove` where neither the file nor the recorded settings say otherwise. */
export const defaultProveMs = 6 * 3_600_000

/** As they are recorded: a member at its default is left out, so that the settings' hash is the same with it or without. */
export type RecordedTimings = Omit<FleetTimings, 'proveMs'> & Partial<Pick<FleetTimings, 'proveMs'>>

export type CheckMode = 'all' | 'sampled' | 'none'

export interface RewrapConfig {
  readonly page: number
  readonly shards: number | 'auto'
  readonly check: CheckMode
  /** Envelopes a second of a whole rotation; 0 means no limit. */
  readonly maxRate: number
}

export interface RemovalRules {
  readonly backupWindowMs: number
  readonly undoWindowMs: number
  readonly approvalsRequired: number
  readonly approvers: readonly string[]
}

/** What `setup` records in `kek_settings`: it counts for the whole fleet, not a host's file. JSON types only. */
export interface FleetSettings {
  readonly collections: readonly CollectionConfig[]
  readonly fleet: RecordedTimings
  readonly removal: RemovalRules
}
