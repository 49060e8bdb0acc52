import type { Canary, GcmProfile, IvMode, ProbeReport } from '../../../contracts/kek.ts'
import type { CheckMode, Pkcs11Config } from '../../../contracts/settings.ts'
import type { Fault } from './errors.ts'

export type TokenName = NonNullable<ProbeReport['token']>

/**
 * The messages between pool and lane. Bytes are Uint8Array, since structured cloning turns Buffers into them.
 * Keys are named by version; handles are never sent.
 */
export interface OpenRequest {
  op: 'open'
  modulePath: string
  moduleParameters: string | null
  token: Pkcs11Config['token']
  userType: NonNullable<Pkcs11Config['userType']>
  pin: string
}
export interface LoadRequest {
  op: 'load'
  version: number
  label: string
  keyId: Uint8Array | null
  gcm: GcmProfile
  canary: Canary
  canaryAad: Uint8Array
}
/** What a key must open before it is destroyed. */
export type CanaryProof = Pick<LoadRequest, 'version' | 'gcm' | 'canary' | 'canaryAad'>
/** Items packed as in packing.ts: rewrap [iv, wrapped, aadFrom, aadTo], unwrap [iv, wrapped, aad], wrap [dek, aad]. */
export type BatchRequest =
  | { op: 'rewrap'; from: number; to: number; check: CheckMode; items: Uint8Array }
  | { op: 'unwrap'; version: number; items: Uint8Array }
  | { op: 'wrap'; version: number; items: Uint8Array }

export type CeremonyRequest =
  | { op: 'prove'; version: number }
  | { op: 'check' }
  | { op: 'generate'; label: string; keyId: Uint8Array; keystore: Uint8Array | null }
  | { op: 'find'; label: string; keyId: Uint8Array | null }
  | { op: 'destroy'; label: string; keyId: Uint8Array; proof: CanaryProof | null }
  | {
      op: 'make-canary'
      label: string
      keyId: Uint8Array | null
      gcm: GcmProfile
      canaryAad: Uint8Array
    }
  | {
      op: 'opens-canary'
      label: string
      keyId: Uint8Array | null
      gcm: GcmProfile
      canary: Canary
      canaryAad: Uint8Array
    }
  | { op: 'probe-mechanisms' }
  | { op: 'probe-generate'; label: string; keyId: Uint8Array; onToken: boolean }
  | { op: 'probe-aead'; label: string; keyId: Uint8Array | null; modes: IvMode[] }
  | { op: 'probe-ivs'; wraps: number }
  | { op: 'probe-clean-up'; label: string; keyId: Uint8Array }

export interface CloseRequest {
  op: 'close'
  /** The last lane of its process: the module is finalized too. */
  last: boolean
}

export type LaneRequest = OpenRequest | LoadRequest | BatchRequest | CeremonyRequest | CloseRequest
export type LaneOp = LaneRequest['op']
/** The request of each operation. */
export type Requests = { [Op in LaneOp]: Extract<LaneRequest, { op: Op }> }

/** The message with a request. `lane` picks the thread of the child; `id` pairs request and reply. */
export interface LaneMessage {
  id: number
  lane: number
  request: LaneRequest
}

/** Rows in the order of the items: [iv, wrapped] for rewrap and wrap, [dek] for unwrap. A refused item has no row, but an entry in `refused`. */
export interface BatchReply {
  items: Uint8Array
  refused: { index: number; message: string }[]
}
export interface OpenReply {
  token: TokenName
  maxSessions: number | null
  warnings: string[]
}
export interface GenerateReply {
  /** False when the key is there from an earlier attempt. */
  made: boolean
}
export interface FindReply {
  /** CKA_ID; null if the key has none. */
  keyId: Uint8Array | null
  warnings: string[]
}
export interface DestroyReply {
  /** False when there was no such key. */
  destroyed: boolean
}
export interface ProbeMechanismsReply {
  missing: string[]
  detail: string
}
export interface ProbeGenerateReply {
  /** False when the token refuses session keys. */
  made: boolean
  wrong: string[]
  detail: string
}
export interface ProbeCleanUpReply {
  destroyed: number
  /** Ids of other keys with the probe's label; an empty id for a key without one. */
  others: Uint8Array[]
}
export interface ProbeAeadReply {
  gcm: GcmProfile | null
  tamper: { tag: number; aad: number; iv: number } | null
  /** A tampered wrap was opened, or an IV was used twice. */
  broken: boolean
  /** What remains uncertain; null if nothing. */
  doubt: string | null
  detail: string
}

/** Wraps of the same bytes since the mode was found, and the number of different IVs. */
export interface ProbeIvsReply {
  wraps: number
  different: number
}

/** What each operation replies. */
export interface Replies {
  open: OpenReply
  load: null
  rewrap: BatchReply
  unwrap: BatchReply
  wrap: BatchReply
  prove: null
  check: null
  generate: GenerateReply
  find: FindReply
  destroy: DestroyReply
  'make-canary': Canary
  'opens-canary': boolean
  'probe-mechanisms': ProbeMechanismsReply
  'probe-generate': ProbeGenerateReply
  'probe-aead': ProbeAeadReply
  'probe-ivs': ProbeIvsReply
  'probe-clean-up': ProbeCleanUpReply
  close: null
}
export type ReplyTo<R extends LaneRequest> = Replies[R['op']]

/** The result of a request, or why it failed. */
export type Outcome<R extends LaneRequest = LaneRequest> =
  { fault: null; value: ReplyTo<R> } | { fault: Fault; value: null }

/**
 * The message with which a lane answers a request. `calls` counts C_Encrypt and C_Decrypt, `byCode` the CKR codes that
 * occurred.
 */
export type LaneReply<R extends LaneRequest = LaneRequest> = Outcome<R> & {
  id: number
  lane: number
  /** The operation of the request. */
  op: LaneOp
  calls: number
  /** Duration of the request in the lane. */
  milliseconds: number
  /** How much of that was waiting for the token; all of it if unknown (thread-wait.ts). */
  waited: number
  byCode: Record<number, number>
}
