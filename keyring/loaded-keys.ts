import pTimeout from 'p-timeout'
import { KeyturnError } from '../contracts/errors.ts'
import type { NotReadyReason, ProofQuestion } from '../contracts/fleet.ts'
import type { VersionState } from '../contracts/kek.ts'
import { leaseState, type ClockReading } from '../protocol/lease.ts'
import { isNamed } from '../protocol/proof-question.ts'
import { isLoadable, versionState } from '../protocol/version-state.ts'
import type { KekProvider } from '../providers/provider.ts'
import type { VersionDoc } from '../store/documents.ts'
import { kekDescriptor } from '../store/kek-versions.ts'
import { FailedKeys } from './failed-keys.ts'

/** A successful proof of a version: when it began, by `performance.now()`, and the question that it answers, if any. */
export interface KeyProof {
  version: number
  begunMs: number
  answers: string | null
}

interface Proof extends KeyProof {
  /** When it began, by the clock of leases. */
  reading: ClockReading
}

export interface LoadedKeysOptions {
  provider: KekProvider
  /** The clock of leases. */
  clock: () => ClockReading
  /** Called for each version that begins to fail, or fails with another code. */
  onFailure: (version: number, error: KeyturnError) => void
}

/** The limits of a refresh, in ms. */
export interface RefreshLimits {
  timeoutMs: number
  /** A proof of this age is renewed. */
  proveMs: number
  heartbeatMs: number
}

/**
 * The keystore's versions, and what this process can do with them. A proof costs crypt calls, so a version is proven only
 * when it is loaded, when the token was reopened, when a question names it, when its proof is old, and before a use
 * (`requireProof`). An idle process makes almost no calls.
 */
export class LoadedKeys {
  readonly #provider: KekProvider
  readonly #clock: () => ClockReading
  readonly #proofs = new Map<number, Proof>()
  readonly #failed: FailedKeys
  #states = new Map<number, VersionState>()
  #wanted: readonly VersionDoc[] = []
  #question: ProofQuestion | null = null
  /** Proofs that have not ended: a token that hangs gets no second call. */
  readonly #pending = new Map<number, Promise<void>>()
  #check: Promise<number> | null = null
  #reconnects: number | null = null

  constructor({ provider, clock, onFailure }: LoadedKeysOptions) {
    this.#provider = provider
    this.#clock = clock
    this.#failed = new FailedKeys(onFailure)
  }

  /**
   * Takes the keystore's current versions, the active one and the open question. Returns whether a refresh is needed: a version
   * is to be loaded for the first time, one is to be unloaded, or the question is not answered.
   */
  note(
    rows: readonly VersionDoc[],
    active: number | null,
    question: ProofQuestion | null = null,
  ): boolean {
    this.#states = new Map(rows.map((row) => [row._id, versionState(row, active)]))
    this.#wanted = rows.filter(({ _id }) => this.#isWanted(_id))
    this.#question = question
    return (
      this.#wanted.some(({ _id }) => !this.#pending.has(_id) && this.#isUntried(_id)) ||
      this.#provider.loaded().some((version) => !this.#isWanted(version))
    )
  }

  /**
   * Unloads versions that are destroyed or pending removal, checks the token's session, loads new versions and proves those
   * that are due, all within `timeoutMs`: a token that hangs must not stop the heartbeat. Returns the proofs of the loaded
   * versions; failures are kept by version.
   */
  async refresh(limits: RefreshLimits): Promise<KeyProof[]> {
    for (const version of [...this.#provider.loaded(), ...this.#failed.versions()]) {
      if (this.#isWanted(version)) continue
      this.#proofs.delete(version)
      this.#failed.clear(version)
      await this.#provider.unload(version)
    }
    const { timeoutMs } = limits
    await pTimeout(this.#checkSession(), { milliseconds: timeoutMs, message: false })
    // One after the other: two at a time would open a second session, which first has to load each key.
    const endMs = performance.now() + timeoutMs
    for (const row of this.#wanted) {
      const milliseconds = Math.max(1, endMs - performance.now())
      await pTimeout(this.#follow(row, limits), { milliseconds, message: false })
    }
    const loaded = this.#provider.loaded()
    return [...this.#proofs.values()]
      .filter(({ version }) => loaded.includes(version))
      .map(({ version, begunMs, answers }) => ({ version, begunMs, answers }))
      .sort((one, other) => one.version - other.version)
  }

  isLoaded(version: number): boolean {
    return this.#provider.loaded().includes(version)
  }

  /** Whether the last proof of a version is young enough to wrap: later changes of the key are unknown. */
  isProven(version: number, leaseMs: number): boolean {
    const proof = this.#proofs.get(version)
    if (proof === undefined || !this.isLoaded(version)) return false
    return leaseState(proof.reading, this.#clock(), leaseMs) === 'young'
  }

  /** Returns when the version has a proof younger than a lease; proves it if needed. Throws the reason if that fails. */
  async requireProof(version: number, leaseMs: number): Promise<void> {
    if (this.isProven(version, leaseMs)) return
    const row = this.#wanted.find(({ _id }) => _id === version)
    if (row !== undefined) await (this.#pending.get(version) ?? this.#prove(row))
    if (this.isProven(version, leaseMs)) return
    throw this.failureOf(version) ?? this.notLoaded(version, null)
  }

  /** Makes the next refresh retry all failures. */
  retryNow(): void {
    this.#failed.retryNow()
  }

  /** Null for a version that the keystore did not have when it was last read. */
  stateOf(version: number): VersionState | null {
    return this.#states.get(version) ?? null
  }

  failureOf(version: number): KeyturnError | null {
    return this.#failed.errorOf(version)
  }

  /** The error for a version that is not loaded; `cause` is the failure to read the keystore, if any. */
  notLoaded(version: number, cause: unknown): KeyturnError {
    const why = this.failureOf(version)
    const state = this.stateOf(version)
    const detail = why?.message ?? (state === null ? 'the keystore has none' : `it is ${state}`)
    return new KeyturnError('kek-not-loaded', `version "${version}" is not loaded: ${detail}`, {
      hint: why?.hint ?? 'keyturn status shows the versions and who has loaded them',
      cause: cause ?? why,
    })
  }

  failures(): { version: number; reason: NotReadyReason; answers: string | null }[] {
    return this.#failed.all()
  }

  #isWanted(version: number): boolean {
    const state = this.#states.get(version)
    return state !== undefined && isLoadable(state)
  }

  /** Whether a version was not tried yet, or not since the question that names it. */
  #isUntried(version: number): boolean {
    const answers = this.isLoaded(version)
      ? this.#proofs.get(version)?.answers
      : this.#failed.answersOf(version)
    return (
      answers === undefined || (this.#isQuestioned(version) && answers !== this.#question?.nonce)
    )
  }

  #isQuestioned(version: number): boolean {
    return this.#question !== null && isNamed(this.#question, version)
  }

  #isDue(version: number, { proveMs }: RefreshLimits): boolean {
    if (this.#isUntried(version)) return true
    const proof = this.#proofs.get(version)
    if (proof === undefined || !this.isLoaded(version)) return this.#failed.isDue(version)
    return performance.now() - proof.begunMs >= proveMs
  }

  /** Drops all proofs after a reconnect: another token, or the same one after a login, may have other keys under these labels. */
  async #checkSession(): Promise<void> {
    const loaded = this.#provider.loaded()
    if (loaded.length === 0) return
    this.#check ??= this.#provider.check().finally(() => (this.#check = null))
    try {
      const reconnects = await this.#check
      if (this.#reconnects !== null && reconnects !== this.#reconnects) this.#proofs.clear()
      this.#reconnects = reconnects
    } catch (cause) {
      for (const version of loaded) {
        this.#fail(version, cause, { answers: this.#proofs.get(version)?.answers ?? null })
      }
    }
  }

  async #follow(row: VersionDoc, limits: RefreshLimits): Promise<void> {
    // A proof that began before the question was read does not answer it.
    await this.#pending.get(row._id)
    if (this.#isDue(row._id, limits)) await this.#prove(row, limits.heartbeatMs)
  }

  #prove(row: VersionDoc, heartbeatMs = 0): Promise<void> {
    const proof = this.#proveOnce(row, heartbeatMs).finally(() => this.#pending.delete(row._id))
    this.#pending.set(row._id, proof)
    return proof
  }

  async #proveOnce(row: VersionDoc, heartbeatMs: number): Promise<void> {
    const version = row._id
    const begun = { begunMs: performance.now(), reading: this.#clock() }
    const answers = this.#answers(version)
    try {
      const descriptor = kekDescriptor(row)
      if (descriptor === null) return
      if (this.isLoaded(version)) await this.#provider.prove(version)
      else await this.#provider.load(descriptor)
      this.#failed.clear(version)
      this.#proofs.set(version, { version, ...begun, answers })
    } catch (cause) {
      this.#fail(version, cause, { answers, heartbeatMs })
    }
  }

  /** The question that a proof that begins now answers: the open one if it names this version, else the previous one. */
  #answers(version: number): string | null {
    if (this.#question !== null && this.#isQuestioned(version)) return this.#question.nonce
    return this.#proofs.get(version)?.answers ?? null
  }

  #fail(
    version: number,
    cause: unknown,
    { answers, heartbeatMs = 0 }: { answers: string | null; heartbeatMs?: number },
  ): void {
    this.#proofs.delete(version)
    this.#failed.add(version, { error: codedError(version, cause), answers, heartbeatMs })
  }
}

function codedError(version: number, cause: unknown): KeyturnError {
  if (cause instanceof KeyturnError) return cause
  return new KeyturnError('kek-not-loaded', `version "${version}" could not be loaded`, { cause })
}
