import type { KeyturnError } from '../contracts/errors.ts'
import type {
  Canary,
  GcmProfile,
  KekDescriptor,
  ProbeReport,
  ProviderName,
} from '../contracts/kek.ts'
import type { CheckMode } from '../contracts/settings.ts'

/** A wrapped DEK as it is stored: the IV as it must be given to unwrap, and 32 bytes of ciphertext with the 16-byte tag. */
export interface Wrapped {
  iv: Buffer
  wrapped: Buffer
}

/** A wrapped DEK with the AAD that binds it to its record and version (never empty). */
export interface SealedDek extends Wrapped {
  aad: Buffer
}

/** A plaintext DEK (32 bytes) on its way into `wrap`. */
export interface PlainDek {
  dek: Buffer
  aad: Buffer
}

export interface RewrapItem extends Wrapped {
  aadFrom: Buffer
  aadTo: Buffer
}

/** `check: all` opens every new wrap again and compares in constant time before it is handed out; `sampled` 1 in 16. */
export interface RewrapBatch {
  from: number
  to: number
  check: CheckMode
  items: readonly RewrapItem[]
}

export type RewrapOutcome =
  | { ok: true; iv: Buffer; wrapped: Buffer }
  | { ok: false; code: 'envelope-unreadable'; message: string }

/**
 * One outcome for each item, in the order of the items. `calls` counts the crypt calls for them: those of repeats and of the
 * canaries that faulty items cost too, but none for loading keys.
 */
export interface RewrapAnswer {
  outcomes: RewrapOutcome[]
  calls: number
}

/**
 * `sessions` are open ones, `waiting` batches that no lane has taken, `byCode` how often each CKR code was met, `trouble`
 * what the token answers while nothing succeeds, and since when.
 */
export interface ProviderStats {
  sessions: number
  waiting: number
  calls: number
  reconnects: number
  byCode: Record<string, number>
  trouble: { message: string; since: Date } | null
}

/**
 * Wraps and unwraps DEKs under numbered KEKs. An item that does not open while the canary of its version does is that
 * item's fault (`envelope-unreadable`); when the canary fails too the whole call rejects: the token is at fault and no
 * data may be accused. After `close` every method rejects with `pool-closed`.
 */
export interface KekProvider {
  readonly name: ProviderName
  /**
   * Finds the key, opens the canary and proves that the key encrypts. Repeating it looks the key up anew.
   * Throws key-not-found, key-ambiguous, wrong-key, cannot-encrypt, material-missing, hsm-*.
   */
  load(kek: KekDescriptor): Promise<void>
  /** Versions that `load` proved and nothing has contradicted since, in rising order. */
  loaded(): number[]
  unload(version: number): Promise<void>
  /** Opens the canary again, wraps and unwraps a nonce. Throws like `load`; a version that fails is no longer loaded. */
  prove(version: number): Promise<void>
  /**
   * Whether the token's session lives, without a crypt call; answers how often the token was opened anew. When it throws,
   * hsm-* or why no log-in succeeds, nothing is loaded any more until it is loaded anew.
   */
  check(): Promise<number>
  wrap(version: number, deks: readonly PlainDek[], signal?: AbortSignal): Promise<Wrapped[]>
  /** For each item the DEK, or the `envelope-unreadable` error of that item. The caller overwrites the DEKs. */
  unwrap(
    version: number,
    sealed: readonly SealedDek[],
    signal?: AbortSignal,
  ): Promise<(Buffer | KeyturnError)[]>
  /** Unwraps under `from`, wraps under `to`, checks. Plaintext DEKs never leave the lane that does it. */
  rewrap(batch: RewrapBatch, signal?: AbortSignal): Promise<RewrapAnswer>
  readonly ceremony: KekCeremony
  stats(): ProviderStats
  close(): Promise<void>
}

/** How keys come and go. The only part of a provider that changes what is in a token. */
export interface KekCeremony {
  /** Leaves nothing behind. */
  probe(signal?: AbortSignal): Promise<ProbeReport>
  /** Label of the key of a version: CKA_LABEL (at most 32 characters, else `usage`) or the variable's name. */
  labelOf(version: number): string
  /**
   * Makes an AES-256 key that cannot leave the token. A key with this label *and* id is taken for our own earlier
   * attempt and kept; another key of this label is `key-exists`. With `keystore`, the first 8 bytes of ids that are made
   * here, keys of a copy of this keystore are passed over: their ids begin otherwise.
   */
  generate(label: string, keyId: Buffer, keystore?: Buffer): Promise<void>
  /**
   * Exactly one key of this label (and id, if given), its attributes verified.
   * Throws key-not-found, key-ambiguous, key-attributes; for `env` material-missing.
   */
  find(label: string, keyId: Buffer | null): Promise<{ keyId: Buffer | null }>
  /**
   * `find`, and what `probe` finds out, with this very key: no other but a session key is made and nothing in the token
   * changes. Warns of a key that could once leave the token. For `env` as `probe`.
   */
  examine(label: string, keyId: Buffer | null): Promise<ProbeReport>
  makeCanary(version: number, label: string, keyId: Buffer | null, gcm: GcmProfile): Promise<Canary>
  /**
   * Whether this key (not `kek`'s own) opens the canary of `kek`: then the two are one key under two names. Throws where the
   * token does not answer, and key-not-found, key-ambiguous, material-missing.
   */
  opensCanary(label: string, keyId: Buffer | null, kek: KekDescriptor): Promise<boolean>
  /**
   * Destroys the one key of exactly this label and id and sees that it is gone. With `proof`, only one that opens this
   * version's canary at that moment: else wrong-key, and the key stays.
   */
  destroy(label: string, keyId: Buffer, proof?: KekDescriptor): Promise<'destroyed' | 'absent'>
  /** How this token does GCM, as a probe found it (made if there was none); `env`: caller, 12 bytes, 128 bits. */
  gcmProfile(): Promise<GcmProfile>
}
