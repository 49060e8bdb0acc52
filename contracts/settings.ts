import type { ProviderName } from './kek.ts'

/** The parsed, defaulted and frozen `keyturn.yaml`. All durations are milliseconds. */
export interface Config {
  /** Path of the file it was read from; for messages only. */
  readonly file: string
  readonly install: string
  readonly mongodb: { readonly uri: string; readonly database: string }
  /** Absent members come from Temporal's standard environment configuration. */
  readonly temporal: { readonly address?: string; readonly namespace?: string }
  readonly kek: KekConfig
  readonly collections: readonly CollectionConfig[]
  readonly fleet: FleetTimings
  readonly rewrap: RewrapConfig
  readonly removal: RemovalRules
  readonly approvals: ApprovalRules
  readonly worker: WorkerConfig
  readonly audit: AuditConfig
  readonly log: { readonly level: string; readonly pretty: boolean | 'auto' }
}

export interface WorkerConfig {
  /** `host:port` of the pages. */
  readonly listen: string
  /** File of the token that the pages ask for; absent: none. */
  readonly tokenFile?: string
  readonly shutdownGraceMs: number
}

/** Where heads of the audit's chain are signed and kept outside the database; each absent if not wanted. */
export interface AuditConfig {
  /** File of an Ed25519 key, PKCS#8 PEM. */
  readonly signingKey?: string
  /** File to which heads are appended, a line each. */
  readonly anchorFile?: string
  /** Gets each head as a POST. */
  readonly anchorUrl?: string
}

export interface KekConfig {
  readonly provider: ProviderName
  readonly env: { readonly variablePrefix: string }
  /** Present when the provider is `pkcs11`. */
  readonly pkcs11?: Pkcs11Config
}

/** A token that matches all given members; at least one is given. */
export interface TokenWanted {
  readonly slot?: number
  readonly label?: string
  readonly serial?: string
  readonly manufacturer?: string
  readonly model?: string
}

export interface Pkcs11Config {
  readonly modulePath: string
  /** A string for C_Initialize (pInitArgs, pReserved), for modules that need one: NSS, Kryoptic, YubiHSM 2. */
  readonly moduleParameters?: string
  /** How the token is found. */
  readonly token: TokenWanted
  /** User type of the login; `crypto-user` is a vendor's (Thales Luna). Absent: `user`. */
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
  /** Dotted paths of the envelope sub-documents; the name of a field with a layout. */
  readonly envelopes: readonly string[]
  /** UUID of the collection, recorded by `setup`; never in a file. Absent if it could not be read. */
  readonly uuid?: string
  /** Layouts of the fields that are not `keyturn-1`; absent if there are none. */
  readonly layouts?: readonly { readonly field: string; readonly layout: DeclaredLayout }[]
}

/** How existing data stores its wrapped DEKs. Paths are dotted, from the record's root. */
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
  /** Between the parts; nothing if absent. */
  readonly separator?: string
}

export interface FleetTimings {
  readonly heartbeatMs: number
  readonly leaseMs: number
  readonly expireMs: number
  /** A loaded version without use is proven again after this time. */
  readonly proveMs: number
}

/** Default of `fleet.prove`. */
export const defaultProveMs = 6 * 3_600_000

/** As recorded: `proveMs` at its default is omitted, so that the settings' hash is the same with or without it. */
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
}

export interface Approver {
  readonly name: string
  /** Raw Ed25519 public key: 32 bytes in base64. */
  readonly key: string
}

/** How many approvals an action needs. 0: none. */
export interface ApprovalNumbers {
  readonly remove: number
  readonly rotate: number
  readonly settings: number
  readonly store: number
}

export interface ApprovalRules extends ApprovalNumbers {
  /** No name and no key is there twice. */
  readonly approvers: readonly Approver[]
  /** How long a request can be approved and used. */
  readonly expiresMs: number
}

/** The section `approvals` at its default. */
export const noApprovals: ApprovalRules = {
  approvers: [],
  remove: 0,
  rotate: 0,
  settings: 0,
  store: 0,
  expiresMs: 72 * 3_600_000,
}

/** Recorded by `setup` in `kek_settings`; applies to the whole fleet instead of a host's file. JSON types only. */
export interface FleetSettings {
  readonly collections: readonly CollectionConfig[]
  readonly fleet: RecordedTimings
  readonly removal: RemovalRules
  /** Omitted at its default. */
  readonly approvals?: ApprovalRules
}
