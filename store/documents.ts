import type { Binary } from 'mongodb'
import type { CheckMode, FleetSettings } from '../contracts/settings.ts'
import type { IvMode, ProviderName } from '../contracts/kek.ts'
import type { NodeKind, NotReadyReason, ProcessRole } from '../contracts/fleet.ts'
import type { Priority, RotationOutcome, RotationPhase } from '../contracts/rotation.ts'

/**
 * The keystore's documents exactly as they are stored (docs/protocol.md, "Collections of the keystore"): snake_case,
 * `null` for what is not there yet, binary of subtype 0 as the driver's `Binary`, times by the database's clock.
 */

/**
 * `kek_install`: the identity of this keystore. Inserted by `setup`; later written only by compare-and-set: by the first
 * installation (`provider`), and by whoever finds or declares where the keystore lives now (`home`, `id`).
 */
export interface InstallDoc {
  _id: 'install'
  name: string
  /** 16 random bytes in hex. */
  id: string
  home: HomeDoc
  /** Layout of the keystore; 2. */
  schema: number
  /** Null before the first installation; never changed after it. */
  provider: ProviderName | null
  /** Where keys are kept; one, named as its provider, from the first installation on. */
  stores: KeyStoreDoc[]
  /** Names the last `setup --restored`: processes that saw a newer state follow this one again. Null before any. */
  restoration: string | null
  created_at: Date
  created_by: string
}

/** Where a keystore was when it was last known to be the original. Null: it could not be read, which is no difference. */
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
  /** Grows with each installation into it. */
  installs: number
  added_at: Date
  added_by: string
  retired_at: Date | null
}

/** `kek_tasks`: a row for each workflow that was started, written before it, in the database of who started it. */
export interface TaskDoc {
  /** 16 random bytes in hex. */
  _id: string
  kind: 'install' | 'verify' | 'rotate' | 'remove' | 'policy'
  by: string
  at: Date
  /** TTL index; null for what may run for long. */
  expires_at: Date | null
}

/** `kek_settings`: one. What `setup` recorded counts for the whole fleet, not a host's file. */
export interface SettingsDoc {
  _id: 'settings'
  settings: FleetSettings
  /** Of the RFC 8785 form of `settings`, 32 bytes. */
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
  /** The node that made it. */
  made_by: string
  /** It came with a copy: its key is the original's, and is never destroyed in an HSM from here. Absent otherwise. */
  of_original?: boolean
  gcm: { iv_mode: IvMode; iv_length: number; tag_bits: 128 } | null
  canary: { dek_iv: Binary; dek_wrapped: Binary; digest: Binary } | null
  /** Wraps made under it as far as heartbeats reported them; may count a lost answer twice, never too few. */
  wraps: number
  /** The mark of the rotation that runs; null when none does. */
  rotation: string | null
  created_at: Date
  activated_at: Date | null
  deactivated_at: Date | null
  /** End of settle: the last moment at which a backup can hold it as the current one. Null when it is active anew. */
  left_at: Date | null
  /** The epoch that made another version active. */
  left_epoch: number | null
  removal: RemovalDoc | null
  destroyed_at: Date | null
}

/** The removal that the version is in, or went by: what was asked for, as its request had it. */
export interface RemovalDoc {
  /** `_id` of its request in `kek_removals`; every decisive write is filtered by it. */
  request: string
  requested_by: string
  requested_at: Date
  due_at: Date
  /** Grows with each run of the guards; destroy is filtered by the run that passed. */
  guard_run: number
  without_fence: boolean
  /** Null until MongoDB refuses the version everywhere. */
  fenced_at: Date | null
  /** The last try to raise the fence that did not succeed; null when none failed. */
  fence_try: { at: Date; tries: number; message: string } | null
  /** What became of the object in the HSM; null until somebody looked. */
  hsm_key: 'destroyed' | 'absent' | null
}

/**
 * `kek_removals`: what a command, or a policy's rotation, asked for. Written before its workflow is started; a step is
 * given only the `_id`, and does only what is written here.
 */
export interface RemovalRequestDoc {
  _id: string
  version: number
  requested_by: string
  requested_at: Date
  /** A policy's time; null: at once. */
  not_before: Date | null
  destroy_hsm_key: boolean
  accept_quarantine: boolean
  without_fence: boolean
  state: 'asked' | 'requested' | 'destroyed' | 'refused' | 'withdrawn'
  /** Whether anything of it is left to do; of one version at most one is. */
  standing: boolean
}

/** `kek_active`: one, switched by compare-and-set on `epoch`, which only grows. */
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
  /** Null for a node that is expected and was never seen. */
  last_seen: Date | null
  decommissioned_at: Date | null
  decommissioned_by: string | null
  /** Never stored: the member that a reading could not make out (store/fleet-documents.ts). */
  malformed?: string
}

/** `process_heartbeats`, `_id` is `<node>/<boot>`. Applications in other languages write it too, so much may be absent. */
export interface HeartbeatDoc {
  _id: string
  node: string
  pid: number
  role: ProcessRole
  started_at: Date
  at: Date
  /** TTL index; it tidies up to a minute late. */
  expires_at: Date
  lease_until: Date
  current: number | null
  epoch: number | null
  /** `answers`: the nonce of the question that the proof was made for. */
  loaded: { version: number; proven_at: Date; answers?: string | null }[]
  /** Why it could not prove a version; absent when the writer does not say. */
  not_loaded?: { version: number; reason: NotReadyReason; answers?: string | null }[]
  /** SHA-256 of the settings in its own file; null or absent when it does not say. */
  settings?: Binary | null
  /** Never stored: the member that a reading could not make out, and a digest that changes with the document. */
  malformed?: { what: string; print: string }
}

/** `kek_questions`: one. The fleet's processes read it with the keystore, prove what it names, and repeat the nonce. */
export interface QuestionDoc {
  _id: 'proof'
  nonce: string
  /** Null: each version that is loaded. */
  target: number | null
  asked_at: Date
  /** Those that it replaced while they were open, the oldest first. */
  earlier?: { nonce: string; target: number | null; asked_at: Date }[]
}

/** `rotations`: one a rotation, the record that outlives Temporal's retention. */
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
  /** What it asked the fleet last; null before it has. */
  question?: { nonce: string; asked_at: Date } | null
  /** `node/boot` of each process that answered it, when all had. */
  met?: string[]
  /** What preflight saw: the epoch that promote compares against, and whether it has to promote. Null before it has ended. */
  seen: { epoch: number; promote: boolean } | null
  /** How it sweeps. */
  way: { page: number; shards: number | 'auto'; check: CheckMode; priority: Priority }
  /** The epoch that its promote made; null before, and when promote was skipped. */
  epoch: number | null
  /** Settle's look found that nobody can wrap under `from` any more; null before. */
  fleet_left: { epoch: number; at: Date; silent: string[] } | null
  /** What preflight expected; rows of older versions have none. */
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
  /** What settle waits for now, a line each; absent outside of settle. */
  awaiting?: string[]
  workflow_id: string
  run_id: string | null
  error: { code: string; message: string; hint?: string } | null
  /** True once its ranges were closed for good: no more can be inserted. */
  shards_closed: boolean
  /** Grows with each transaction that must not pass the end of this rotation: both write this row. */
  touches: number
}

export interface CountersDoc {
  rewrapped: number
  superseded: number
  quarantined: number
  hsm_calls: number
}

/**
 * A point among the `_id`s of a collection, wrapped so that any BSON value can be one: read it unpromoted (`Int32`,
 * `Long`, `Double` objects, a `Map` for a sub-document), so that it goes back to the server as it came.
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
  /** Grows with each takeover: the fence of every page. */
  attempt: number
  /** lsid of the attempt's transactions. */
  session: { id: Binary } | null
  /** The last `_id` that was dealt with; null before the first page. */
  cursor: Bound | null
  closed: boolean
  counters: CountersDoc
}

/** `_id` of a quarantine row: the place of an envelope. `id` is unpromoted as in `Bound`. */
export interface QuarantineId {
  collection: string
  id: unknown
  field: string
}

/** `rewrap_quarantine`: envelopes that could not be opened or written. */
export interface QuarantineDoc {
  _id: QuarantineId
  /** Null for an odd envelope: nobody can say which key it needs. */
  kek_version: number | null
  /** SHA-256 of the wrap fields as found (envelope/wrap-digest.ts): only these very bytes are in quarantine. */
  digest: Binary
  code: string
  message: string
  /** The last rotation that met it; null when only a look at what is odd did. */
  rotation: string | null
  first_seen: Date
  attempts: number
  /** Of the row `odd-many`: how many odd envelopes it stands for. */
  count?: number
  /** Never stored: the `_id` of a row that a reading could not make out, as it goes back to the server. */
  malformed?: { id: unknown }
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
  /** `hash` of the entry before in hex; 64 zeros for the first. */
  prev: string
  /** SHA-256 in hex over the RFC 8785 form of this entry without `hash`. */
  hash: string
}
