import type { KeyturnError } from '../contracts/errors.ts'
import type {
  Canary,
  GcmProfile,
  KekDescriptor,
  ProbeReport,
  ProviderName,
} from '../contracts/kek.ts'
import type { CheckMode } from '../contracts/settings.ts'

/** A wrapped DEK as it is stored: the IV to pass to unwrap, and 32 bytes of ciphertext with the 16-byte tag. */
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

/** `check: all` opens every new wrap again and compares it in constant time before it is returned; `sampled` 1 in 16. */
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
 * One outcome for each item, in the order of the items. `calls` counts their crypt calls, including
 * retries and the canaries for faulty items, but not the calls that load keys.
 */
export interface RewrapAnswer {
  outcomes: RewrapOutcome[]
  calls: number
}

/**
 * `sessions` are open, `waiting` batches are in the queue, `byCode` counts each CKR code, `trouble` is the token's error
 * while no job succeeds, and since when.
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
 * Wraps and unwraps DEKs under numbered KEKs. An item that does not open while the canary of its version does
 * is `envelope-unreadable`. When the canary fails too, the whole call rejects: the token is at fault, and nothing is known
 * about the data. After `close` every method rejects with `pool-closed`.
 */
export interface KekProvider {
  readonly name: ProviderName
  /**
   * Finds the key, opens the canary and proves that the key encrypts. A repeated call looks the key up again.
   * Throws key-not-found, key-ambiguous, wrong-key, cannot-encrypt, material-missing, hsm-*.
   */
  load(kek: KekDescriptor): Promise<void>
  /** Versions that `load` has proven and no error has contradicted since, in ascending order. */
  loaded(): number[]
  unload(version: number): Promise<void>
  /** Opens the canary again, wraps and unwraps a nonce. Throws like `load`; a version that fails is no longer loaded. */
  prove(version: number): Promise<void>
  /**
   * Checks the token's session without a crypt call; returns how often lane processes were replaced. Throws hsm-* or the
   * reason that no login succeeds: then no version counts as loaded until it is loaded again.
   */
  check(): Promise<number>
  wrap(version: number, deks: readonly PlainDek[], signal?: AbortSignal): Promise<Wrapped[]>
  /** For each item the DEK, or the `envelope-unreadable` error of that item. The caller overwrites the DEKs. */
  unwrap(
    version: number,
    sealed: readonly SealedDek[],
    signal?: AbortSignal,
  ): Promise<(Buffer | KeyturnError)[]>
  /** Unwraps under `from`, wraps under `to`, and checks. Plaintext DEKs never leave their lane. */
  rewrap(batch: RewrapBatch, signal?: AbortSignal): Promise<RewrapAnswer>
  readonly ceremony: KekCeremony
  stats(): ProviderStats
  close(): Promise<void>
}

/** Making, finding and destroying keys. The only part of a provider that changes the content of a token. */
export interface KekCeremony {
  /** Leaves nothing behind. */
  probe(signal?: AbortSignal): Promise<ProbeReport>
  /** Label of the key of a version: CKA_LABEL (at most 32 characters, else `usage`) or the variable's name. */
  labelOf(version: number): string
  /**
   * Makes an AES-256 key that cannot leave the token. An existing key with this label *and* id is from an earlier attempt
   * and is kept; another key with this label is `key-exists`. `keystore` is the first 8 bytes of ids that this keystore
   * makes; with it, keys that a copy of the keystore made are ignored.
   */
  generate(label: string, keyId: Buffer, keystore?: Buffer): Promise<void>
  /**
   * Exactly one key of this label (and id, if given), its attributes verified.
   * Throws key-not-found, key-ambiguous, key-attributes; for `env` material-missing.
   */
  find(label: string, keyId: Buffer | null): Promise<{ keyId: Buffer | null }>
  /**
   * `find`, then probes the token with this key: at most a session key is made, and nothing in the token changes. Warns of a
   * key that was once extractable. For `env` the same as `probe`.
   */
  examine(label: string, keyId: Buffer | null): Promise<ProbeReport>
  makeCanary(version: number, label: string, keyId: Buffer | null, gcm: GcmProfile): Promise<Canary>
  /**
   * Whether this key (not `kek`'s own) opens the canary of `kek`: if so, both are the same key. Throws when
   * the token does not answer, and key-not-found, key-ambiguous, material-missing.
   */
  opensCanary(label: string, keyId: Buffer | null, kek: KekDescriptor): Promise<boolean>
  /**
   * Destroys the key with exactly this label and id and verifies that it is gone. With `proof` it must first open this
   * version's canary; otherwise throws wrong-key and keeps the key.
   */
  destroy(label: string, keyId: Buffer, proof?: KekDescriptor): Promise<'destroyed' | 'absent'>
  /** How this token does GCM, from the last probe, or from a new one if there was none; `env`: caller, 12 bytes, 128 bits. */
  gcmProfile(): Promise<GcmProfile>
}
