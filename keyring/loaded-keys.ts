import { KeyturnError } from '../contracts/errors.ts'
import type { NotReadyReason } from '../contracts/fleet.ts'
import type { VersionState } from '../contracts/kek.ts'
import { isLoadable, versionState } from '../protocol/version-state.ts'
import type { KekProvider } from '../providers/provider.ts'
import type { VersionDoc } from '../store/documents.ts'
import { kekDescriptor } from '../store/kek-versions.ts'
import { within } from './within.ts'

/** A proof of a version: it was begun at this moment of the monotonic clock, in ms, and succeeded. */
export interface KeyProof {
  version: number
  begunMs: number
}

/** What the keystore says of its versions, and what this process can do with them. */
export class LoadedKeys {
  readonly #provider: KekProvider
  readonly #onFailure: (version: number, error: KeyturnError) => void
  readonly #failures = new Map<number, KeyturnError>()
  #states = new Map<number, VersionState>()
  #wanted: readonly VersionDoc[] = []
  /** Proofs that have not ended: a token that hangs is not asked a second time. */
  readonly #pending = new Map<number, Promise<KeyProof | null>>()

  constructor(provider: KekProvider, onFailure: (version: number, error: KeyturnError) => void) {
    this.#provider = provider
    this.#onFailure = onFailure
  }

  /**
   * What the keystore says now, and which version is active. True when that asks for a refresh: something that was never
   * tried is to be loaded, or something to be unloaded.
   */
  note(rows: readonly VersionDoc[], active: number | null): boolean {
    this.#states = new Map(rows.map((row) => [row._id, versionState(row, active)]))
    this.#wanted = rows.filter(({ _id }) => this.#isWanted(_id))
    const isTried = (version: number) =>
      this.isLoaded(version) || this.#failures.has(version) || this.#pending.has(version)
    return (
      this.#wanted.some(({ _id }) => !isTried(_id)) ||
      this.#provider.loaded().some((version) => !this.#isWanted(version))
    )
  }

  /**
   * Unloads what is destroyed or pending removal, loads what is new, proves the rest, all within `timeoutMs`: a token
   * that hangs must not silence the heartbeat. Returns the proofs that were made; failures are kept by version.
   */
  async refresh(timeoutMs: number): Promise<KeyProof[]> {
    for (const version of [...this.#provider.loaded(), ...this.#failures.keys()]) {
      if (this.#isWanted(version)) continue
      this.#failures.delete(version)
      await this.#provider.unload(version)
    }
    const proofs = await Promise.all(this.#wanted.map((row) => within(timeoutMs, this.#prove(row))))
    return proofs.filter((proof) => proof !== null)
  }

  isLoaded(version: number): boolean {
    return this.#provider.loaded().includes(version)
  }

  /** Null for a version that the keystore did not have when it was last read. */
  stateOf(version: number): VersionState | null {
    return this.#states.get(version) ?? null
  }

  failureOf(version: number): KeyturnError | null {
    return this.#failures.get(version) ?? null
  }

  /** The refusal for who needs a version that is not loaded; `cause` where a look into the keystore failed. */
  notLoaded(version: number, cause: unknown): KeyturnError {
    const why = this.failureOf(version)
    const state = this.stateOf(version)
    const detail = why?.message ?? (state === null ? 'the keystore has none' : `it is ${state}`)
    return new KeyturnError('kek-not-loaded', `version '${version}' is not loaded: ${detail}`, {
      hint: why?.hint ?? 'keyturn status shows the versions and who has loaded them',
      cause: cause ?? why,
    })
  }

  failures(): { version: number; reason: NotReadyReason }[] {
    return [...this.#failures].map(([version, error]) => ({ version, reason: reasonOf(error) }))
  }

  #isWanted(version: number): boolean {
    const state = this.#states.get(version)
    return state !== undefined && isLoadable(state)
  }

  #prove(row: VersionDoc): Promise<KeyProof | null> {
    const pending = this.#pending.get(row._id)
    if (pending !== undefined) return pending
    const proof = this.#proveOnce(row).finally(() => this.#pending.delete(row._id))
    this.#pending.set(row._id, proof)
    return proof
  }

  async #proveOnce(row: VersionDoc): Promise<KeyProof | null> {
    const version = row._id
    const begunMs = performance.now()
    try {
      const descriptor = kekDescriptor(row)
      if (descriptor === null) return null
      if (this.isLoaded(version)) await this.#provider.prove(version)
      else await this.#provider.load(descriptor)
      this.#failures.delete(version)
      return { version, begunMs }
    } catch (cause) {
      const error = codedError(version, cause)
      const isNews = this.#failures.get(version)?.code !== error.code
      this.#failures.set(version, error)
      if (isNews) this.#onFailure(version, error)
      return null
    }
  }
}

/** Why a process is not ready, from the error that its provider gave. */
export function reasonOf(error: KeyturnError): NotReadyReason {
  switch (error.code) {
    case 'wrong-key':
    case 'cannot-encrypt':
    case 'material-missing':
      return error.code
    case 'key-not-found':
    case 'key-ambiguous':
      return 'material-missing'
    default:
      return 'not-loaded'
  }
}

function codedError(version: number, cause: unknown): KeyturnError {
  if (cause instanceof KeyturnError) return cause
  return new KeyturnError('kek-not-loaded', `version '${version}' could not be loaded`, { cause })
}
