import type { Binary, ObjectId } from 'mongodb'
import type { CheckMode, FleetSettings } from '../contracts/settings.ts'
import type { IvMode, ProviderName } from '../contracts/kek.ts'
import type { NodeKind, NotReadyReason, ProcessRole } from '../contracts/fleet.ts'
import type { Priority, RotationOutcome, RotationPhase } from '../contracts/rotation.ts'
import type { RecordDoc } from './record-schema.ts'

/**
 * The keystore's documents as they are stored (docs/protocol.md, "Collections of the keystore"): snake_case, `null` for a
 * value that is not set yet, binary of subtype 0 as the driver's `Binary`, times by the database's clock.
 */

/**
 * `kek_install`: the identity of this keystore. Inserted by `setup`; later written only by compare-and-set: by the first
 * installation (`provider`), and when the keystore's home is found or declared to have changed (`home`, `id`).
 */
export interface InstallDoc {
  _id: 'install'
  name: string
  /** 16 random bytes in hex. */
  id: string
  home: HomeDoc
  /** Layout version of the keystore; 2. */
  schema: number
  /** Null before the first installation; never changed after it. */
  provider: ProviderName | null
  /** Key stores; from the first installation on there is one, named after its provider. */
  stores: KeyStoreDoc[]
  /** Id of the last `setup --restored`, after which processes that saw a newer state follow this one. Null before any. */
  restoration: string | null
  /** Public keys that sign heads of the audit, PEM (SPKI), recorded by `setup`; absent before the first. */
  audit_keys?: string[]
  created_at: Date
  created_by: string
}

/** Where the keystore was when it was last known to be the original. Null: could not be read, which is not a difference. */
export interface HomeDoc {
  /** UUID of the collection `kek_install`, from listCollections. */
  collection: string | null
  /** Members of the replica set, from hello. */
  hosts: string[] | null
}

export interface KeyStoreDoc {
  name: string
  provider: ProviderName
  token: { serial: string; label: string; manufacturer: string; model: string } | null
  /** Number of installations into it. */
  installs: number
  added_at: Date
  added_by: string
  retired_at: Date | null
}

/** `kek_tasks`: one row for each workflow, written before it is started, in the database of the command that starts it. */
export interface TaskDoc {
  /** 16 random bytes in hex. */
  _id: string
  kind: 'install' | 'verify' | 'rotate' | 'remove' | 'policy'
  by: string
  at: Date
  /** TTL index; null for workflows that may run for long. */
  expires_at: Date | null
}

/** `kek_settings`: one. Recorded by `setup`; applies to the whole fleet instead of a host's file. */
export interface SettingsDoc {
  _id: 'settings'
  settings: FleetSettings
  /** SHA-256 of the RFC 8785 form of `settings`, 32 bytes. */
  sha256: Binary
  at: Date
  by: string
}

/** `kek_versions`. Without a canary it is an intent, `installing`. Its state is derived, never stored. */
export interface VersionDoc {
  _id: number
  provider: ProviderName
  /** Name of the key store that holds its key. */
  store: string
  /** The key's CKA_LABEL, or the name of the environment variable. */
  label: string
  /** CKA_ID; null for `env`. */
  key_id: Binary | null
  origin: 'generated' | 'registered' | 'environment'
  /** The node that installed it. */
  made_by: string
  /** True if it came with a copy: its key is the original's and is never destroyed in an HSM from here. Absent otherwise. */
  of_original?: boolean
  gcm: { iv_mode: IvMode; iv_length: number; tag_bits: 128 } | null
  canary: { dek_iv: Binary; dek_wrapped: Binary; digest: Binary } | null
  /** Wraps made under it, as reported by heartbeats. A lost answer may be counted twice; the count is never too low. */
  wraps: number
  /** Mark of the running rotation; null if none runs. */
  rotation: string | null
  created_at: Date
  activated_at: Date | null
  deactivated_at: Date | null
  /** End of settle: the last moment at which a backup can hold it as the active one. Null when it becomes active again. */
  left_at: Date | null
  /** The epoch that made another version active. */
  left_epoch: number | null
  /**
   * When it was active, and the end of the last settle that left it after that; never shortened. Absent in rows of older
   * builds.
   */
  periods?: { activated_at: Date; left_at: Date | null }[]
  removal: RemovalDoc | null
  destroyed_at: Date | null
}

/** The version's pending or finished removal, as requested. */
export interface RemovalDoc {
  /** `_id` of its request in `kek_removals`; every decisive write is filtered by it. */
  request: string
  requested_by: string
  requested_at: Date
  due_at: Date
  /** Grows with each run of the guards; destroy is filtered by the run that passed. */
  guard_run: number
  without_fence: boolean
  /** When MongoDB refused the version in all collections; null before. */
  fenced_at: Date | null
  /** The last failed try to set the validator; null if none failed. */
  fence_try: { at: Date; tries: number; message: string } | null
  /** What became of the object in the HSM; null until it was looked for. */
  hsm_key: 'destroyed' | 'absent' | null
}

/**
 * `kek_removals`: a request of a command or of a policy's rotation, written before its workflow is started. A step is given
 * only the `_id`, and does only what is written here.
 */
export interface RemovalRequestDoc {
  _id: string
  version: number
  requested_by: string
  requested_at: Date
  /** Earliest time, set by a policy; null: at once. */
  not_before: Date | null
  destroy_hsm_key: boolean
  accept_quarantine: boolean
  without_fence: boolean
  state: 'asked' | 'requested' | 'destroyed' | 'refused' | 'withdrawn'
  /** True while it is open. A version has at most one open request. */
  standing: boolean
  /** When the audit told that the key is about to be destroyed in the HSM; absent before. */
  key_destroying_at?: Date
}

/**
 * `kek_uses`: uses of a version that is pending removal, by one process at one place. Applications in other languages write it
 * too.
 */
export interface UseDoc {
  /** `process`: the random id of its start, the part of its heartbeat's `_id` behind the node. */
  _id: { version: number; node: string; process: string; collection: string; field: string }
  pid: number
  role: ProcessRole
  count: number
  first_at: Date
  last_at: Date
}

/** `kek_backups`: backups of the database that are kept, as operators mark them. */
export interface BackupDoc {
  /** Its name. */
  _id: string
  /** When it began. */
  taken_at: Date
  /** Null: until it is dropped. */
  keep_until: Date | null
  marked_at: Date
  marked_by: string
}

/** `kek_active`: one document, switched by compare-and-set on `epoch`, which only grows. */
export interface ActiveDoc {
  _id: 'active'
  version: number
  epoch: number
  /** The rotation that promoted it; null for the first version. */
  rotation: string | null
  at: Date
}

/** `fleet_nodes`: the roster. */
export interface NodeDoc {
  /** The node's name. */
  _id: string
  kind: NodeKind
  first_seen: Date
  /** Null for an expected node that was never seen. */
  last_seen: Date | null
  decommissioned_at: Date | null
  decommissioned_by: string | null
  /** Never stored: the malformed member (store/fleet-documents.ts). */
  malformed?: string
}

/** `process_heartbeats`, `_id` is `<node>/<boot>`. Applications in other languages write it too, so many members may be absent. */
export interface HeartbeatDoc {
  _id: string
  node: string
  pid: number
  role: ProcessRole
  started_at: Date
  at: Date
  /** TTL index, which deletes up to a minute late. */
  expires_at: Date
  lease_until: Date
  current: number | null
  epoch: number | null
  /** `answers`: the nonce of the question that the proof was made for. */
  loaded: { version: number; proven_at: Date; answers?: string | null }[]
  /** Why it could not prove a version; absent if the writer does not report it. */
  not_loaded?: { version: number; reason: NotReadyReason; answers?: string | null }[]
  /** SHA-256 of the settings in its own file; null or absent if it does not report them. */
  settings?: Binary | null
  /** True: it records its uses of a version that is pending removal (`kek_uses`). */
  reports_uses?: boolean | null
  /** Name and version of its software, for reports. */
  software?: string | null
  /** Never stored: the malformed member, and a digest that changes with the document. */
  malformed?: { what: string; print: string }
}

/** `kek_questions`: one. The fleet's processes read it with the keystore, prove the version, and repeat the nonce. */
export interface QuestionDoc {
  _id: 'proof'
  nonce: string
  /** Null: each loaded version. */
  target: number | null
  asked_at: Date
  /** Questions that it replaced while they were open, the oldest first. */
  earlier?: { nonce: string; target: number | null; asked_at: Date }[]
}

/** `rotations`: one for each rotation; the record outlives Temporal's retention. */
export interface RotationDoc {
  _id: string
  from: number
  to: number
  phase: RotationPhase
  /** Null while it runs. */
  outcome: Exclude<RotationOutcome, 'started'> | null
  requested_by: string
  reason: string
  started_at: Date
  promoted_at: Date | null
  settled_at: Date | null
  ended_at: Date | null
  /** When each phase began, by the database's clock; rows of older versions have none. */
  phases?: Partial<Record<RotationPhase, Date>>
  /** Its last question to the fleet; null before the first. */
  question?: { nonce: string; asked_at: Date } | null
  /** `node/boot` of each process that answered it; written when all had answered. */
  met?: string[]
  /** Preflight's result: the epoch that promote compares against, and whether it has to promote. Null before preflight ends. */
  seen: { epoch: number; promote: boolean } | null
  /** Options of the sweep. */
  way: { page: number; shards: number | 'auto'; check: CheckMode; priority: Priority }
  /** When it may sweep; null or absent: at any time. */
  window?: { from_ms: number; to_ms: number; time_zone: string } | null
  /** The epoch that its promote made; null before, and if promote was skipped. */
  epoch: number | null
  /** When a look of settle found that no process can wrap under `from` any more; null before. */
  fleet_left: { epoch: number; at: Date; silent: string[] } | null
  /** Preflight's estimate; rows of older versions have none. */
  plan?: {
    envelopes: number
    hsm_calls: number
    seconds: number
    check: CheckMode
    max_rate: number
  }
  /** Envelopes under `from` at preflight; null before it counted. */
  total: number | null
  /** Written when it ends, as the sum over its ranges; until then null. */
  counters: CountersDoc | null
  /** Crypt calls that sweeps have reserved of `max_hsm_calls` (0 is no limit). */
  hsm_reserved: number
  max_hsm_calls: number
  /** Nodes whose processes were silent when settle ended. */
  silent: string[]
  /** What settle waits for now, one line each; absent outside settle. */
  awaiting?: string[]
  workflow_id: string
  run_id: string | null
  error: { code: string; message: string; hint?: string } | null
  /** For its report only. */
  record?: RecordDoc
  /** True once its ranges are closed for good: no more can be inserted. */
  shards_closed: boolean
  /** Incremented by each transaction that must conflict with the end of this rotation, which writes the same row. */
  touches: number
}

export interface CountersDoc {
  rewrapped: number
  superseded: number
  quarantined: number
  hsm_calls: number
}

/**
 * A bound among the `_id`s of a collection, wrapped because it can be any BSON value. Read it unpromoted (`Int32`, `Long`,
 * `Double` objects, a `Map` for a sub-document), so that it returns to the server unchanged.
 */
export interface Bound {
  readonly v: unknown
}

/** Names a range; its document has `{ rotation, range }` as its `_id`. */
export interface RangeId {
  rotation: string
  range: string
}

/** `rewrap_shards`: a range of `_id` of one field, `min` inclusive, `max` exclusive, null for an open end. */
export interface RangeDoc {
  _id: { rotation: string; shard: string }
  collection: string
  field: string
  min: Bound | null
  max: Bound | null
  /** Incremented by each takeover; every page's attempt filter compares it. */
  attempt: number
  /** lsid of the attempt's transactions. */
  session: { id: Binary } | null
  /** The last processed `_id`; null before the first page. */
  cursor: Bound | null
  closed: boolean
  counters: CountersDoc
}

/** `_id` of a quarantine row: the place of an envelope. `id` is unpromoted, as in `Bound`. */
export interface QuarantineId {
  collection: string
  id: unknown
  field: string
}

/** `rewrap_quarantine`: envelopes that could not be opened or written. */
export interface QuarantineDoc {
  _id: QuarantineId
  /** Null for an odd envelope: it is unknown which key it needs. */
  kek_version: number | null
  /** SHA-256 of the wrap fields as found (envelope/wrap-digest.ts): only exactly these bytes are in quarantine. */
  digest: Binary
  code: string
  message: string
  /** The last rotation that met it; null if only a scan for odd envelopes did. */
  rotation: string | null
  first_seen: Date
  attempts: number
  /** For the row `odd-many`: how many odd envelopes it counts. */
  count?: number
  /** Never stored: the `_id` of a malformed row, in the form that goes back to the server. */
  malformed?: { id: unknown }
}

/** `kek_audit_outbox`: entries in the order of `at` and `_id`, until they are chained into `kek_audit`. */
export interface AuditOutboxDoc {
  _id: ObjectId
  at: Date
  actor: string
  action: string
  subject: string
  /** JSON types only, ids as EJSON. */
  details: Record<string, unknown>
}

/** `kek_audit`: insert-only, `_id` from 1 without gaps. */
export interface AuditDoc {
  _id: number
  at: Date
  actor: string
  action: string
  subject: string
  /** JSON types only, ids as EJSON. */
  details: Record<string, unknown>
  /** `hash` of the previous entry in hex; 64 zeros for the first. */
  prev: string
  /** SHA-256 in hex over the RFC 8785 form of this entry without `hash`. */
  hash: string
}
