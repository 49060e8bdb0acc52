import { createSecretKey, timingSafeEqual, type KeyObject } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { KeyturnError } from '../../contracts/errors.ts'
import type { KekDescriptor } from '../../contracts/kek.ts'
import type {
  KekCeremony,
  KekProvider,
  PlainDek,
  ProviderStats,
  RewrapAnswer,
  RewrapBatch,
  RewrapItem,
  RewrapOutcome,
  SealedDek,
  Wrapped,
} from '../provider.ts'
import { malformedWrap } from '../wrap-shape.ts'
import { envCeremony, materialMissing } from './env-ceremony.ts'
import { EnvKey } from './env-key.ts'

/** The event loop gets a turn after this long: heartbeats and leases must not wait for a page. */
const TURN_MS = 5
/** Items between two checks of the clock. */
const LOOK_EVERY = 32
const SAMPLED_EVERY = 16

export interface EnvOptions {
  install: string
  variablePrefix: string
  /** Checked 32-byte keys by version (config/env-keks.ts). */
  keks: Map<number, Buffer>
}

/** KEKs from environment variables, used in this process: AES-256-GCM of node:crypto behind the interface of a token. */
export function openEnvProvider(options: EnvOptions): KekProvider {
  return new EnvProvider(options)
}

class EnvProvider implements KekProvider {
  readonly name = 'env'
  readonly ceremony: KekCeremony
  readonly #install: string
  readonly #prefix: string
  readonly #material: ReadonlyMap<number, KeyObject>
  readonly #loaded = new Map<number, EnvKey>()
  #callsOfUnloaded = 0
  #checks = 0
  #closed = false

  constructor({ install, variablePrefix, keks }: EnvOptions) {
    this.#install = install
    this.#prefix = variablePrefix
    this.#material = new Map([...keks].map(([version, key]) => [version, createSecretKey(key)]))
    const requireOpen = (): void => this.#requireOpen()
    this.ceremony = envCeremony({ install, variablePrefix, material: this.#material, requireOpen })
  }

  // Not plainly `async`: what is thrown before the first await must still be a rejection.
  load(kek: KekDescriptor): Promise<void> {
    return attempt(() => {
      this.#requireOpen()
      const material = this.#material.get(kek.version)
      this.#drop(kek.version)
      if (material === undefined) throw materialMissing(this.#prefix, kek.version)
      const key = new EnvKey(material, kek, this.#install)
      key.prove()
      this.#loaded.set(kek.version, key)
    })
  }

  loaded(): number[] {
    return [...this.#loaded.keys()].sort((a, b) => a - b)
  }

  unload(version: number): Promise<void> {
    return attempt(() => {
      this.#requireOpen()
      this.#drop(version)
    })
  }

  prove(version: number): Promise<void> {
    return attempt(() => {
      const key = this.#key(version)
      try {
        key.prove()
      } catch (error) {
        this.#drop(version)
        throw error
      }
    })
  }

  /** The keys are in this process. */
  check(): Promise<number> {
    return attempt(() => this.#requireOpen()).then(() => 0)
  }

  async wrap(version: number, deks: readonly PlainDek[], signal?: AbortSignal): Promise<Wrapped[]> {
    const key = this.#key(version)
    return this.#inTurns(deks, signal, (item) => {
      const malformed = malformedWrap(item)
      if (malformed !== null) throw new KeyturnError('internal', `a wrap was refused: ${malformed}`)
      return key.seal(item.dek, item.aad)
    })
  }

  async unwrap(
    version: number,
    sealed: readonly SealedDek[],
    signal?: AbortSignal,
  ): Promise<(Buffer | KeyturnError)[]> {
    const key = this.#key(version)
    return this.#inTurns(sealed, signal, (item) => {
      const opened = open(key, version, item, item.aad)
      return typeof opened === 'string' ? new KeyturnError('envelope-unreadable', opened) : opened
    })
  }

  async rewrap(batch: RewrapBatch, signal?: AbortSignal): Promise<RewrapAnswer> {
    const from = this.#key(batch.from)
    const to = this.#key(batch.to)
    // Several batches may run interleaved, so calls are counted for each item, not by the keys' counters.
    let calls = 0
    const outcomes = await this.#inTurns(batch.items, signal, (item) => {
      const before = from.calls + (to === from ? 0 : to.calls)
      try {
        return this.#rewrapOne(batch, from, to, item)
      } finally {
        calls += from.calls + (to === from ? 0 : to.calls) - before
      }
    })
    return { outcomes, calls }
  }

  stats(): ProviderStats {
    let calls = this.#callsOfUnloaded
    for (const key of this.#loaded.values()) calls += key.calls
    return { sessions: 0, waiting: 0, calls, reconnects: 0, byCode: {}, trouble: null }
  }

  close(): Promise<void> {
    this.#closed = true
    this.#loaded.clear()
    return Promise.resolve()
  }

  #rewrapOne(batch: RewrapBatch, from: EnvKey, to: EnvKey, item: RewrapItem): RewrapOutcome {
    const dek = open(from, batch.from, item, item.aadFrom)
    if (typeof dek === 'string') return { ok: false, code: 'envelope-unreadable', message: dek }
    try {
      const { iv, wrapped } = to.seal(dek, item.aadTo)
      const sampled = batch.check === 'sampled' && this.#checks++ % SAMPLED_EVERY === 0
      if (batch.check === 'all' || sampled) checkWrap(to, { iv, wrapped }, item.aadTo, dek)
      return { ok: true, iv, wrapped }
    } finally {
      dek.fill(0)
    }
  }

  async #inTurns<T, R>(
    items: readonly T[],
    signal: AbortSignal | undefined,
    use: (item: T) => R,
  ): Promise<R[]> {
    const results: R[] = []
    let turn = performance.now()
    signal?.throwIfAborted()
    for (const item of items) {
      results.push(use(item))
      if (results.length % LOOK_EVERY !== 0 || performance.now() - turn < TURN_MS) continue
      await nextTurn()
      this.#requireOpen()
      signal?.throwIfAborted()
      turn = performance.now()
    }
    return results
  }

  #drop(version: number): void {
    this.#callsOfUnloaded += this.#loaded.get(version)?.calls ?? 0
    this.#loaded.delete(version)
  }

  #key(version: number): EnvKey {
    this.#requireOpen()
    const key = this.#loaded.get(version)
    if (key !== undefined) return key
    throw new KeyturnError('kek-not-loaded', `version ${version} is not loaded`)
  }

  #requireOpen(): void {
    if (this.#closed) throw new KeyturnError('pool-closed', 'the provider is closed')
  }
}

/** The DEK, or why this envelope is unreadable; throws wrong-key when the canary does not open either. */
function open(key: EnvKey, version: number, item: Wrapped, aad: Buffer): Buffer | string {
  const malformed = malformedWrap(item)
  if (malformed !== null) return malformed
  const dek = key.open(item.iv, item.wrapped, aad)
  if (dek !== null) return dek
  key.openCanary()
  return `the tag does not fit, while the canary of version ${version} opens`
}

function checkWrap(to: EnvKey, { iv, wrapped }: Wrapped, aad: Buffer, dek: Buffer): void {
  const again = to.open(iv, wrapped, aad)
  const same = again !== null && timingSafeEqual(again, dek)
  again?.fill(0)
  if (!same) throw new KeyturnError('hsm-failed', 'a fresh wrap opened to other bytes')
}

/** Runs `use` at once; an error becomes a rejection. */
function attempt(use: () => void): Promise<void> {
  return new Promise((resolve) => {
    use()
    resolve()
  })
}
