import { KeyturnError } from '../../contracts/errors.ts'
import type { KekDescriptor } from '../../contracts/kek.ts'
import type { Pkcs11Config } from '../../contracts/settings.ts'
import { canaryAad } from '../../envelope/aad.ts'
import type { Log } from '../../observability/log.ts'
import type {
  KekCeremony,
  KekProvider,
  PlainDek,
  ProviderStats,
  RewrapAnswer,
  RewrapBatch,
  SealedDek,
  Wrapped,
} from '../provider.ts'
import { pkcs11Ceremony } from './ceremony.ts'
import { modesToTry } from './wire/iv-modes.ts'
import { providerClosed } from './wire/errors.ts'
import { LanePool } from './pool/pool.ts'
import { rewrapIn, unwrapIn, wrapIn, type BatchOptions } from './pool/batches.ts'

export interface Pkcs11Options {
  install: string
  config: Pkcs11Config
  pin: string
  log: Log
  /** For tests: the number of cores; default: the machine's. */
  cores?: number
}

/** A person or a heartbeat waits for proofs: a token that is away must not delay them past the lease. */
const PROOF_PATIENCE_MS = 5_000

/** Opens the first session; more lanes open under load. Throws the coded error of module, token or PIN. */
export async function openPkcs11Provider(options: Pkcs11Options): Promise<Pkcs11Provider> {
  return new Pkcs11Provider(await LanePool.open(options), options)
}

export class Pkcs11Provider implements KekProvider {
  readonly name = 'pkcs11'
  readonly ceremony: KekCeremony
  readonly pool: LanePool
  readonly #options: Pkcs11Options
  /** Versions whose key and canary are known to the pool. */
  readonly #known = new Set<number>()
  readonly #proved = new Set<number>()

  constructor(pool: LanePool, options: Pkcs11Options) {
    this.pool = pool
    this.#options = options
    this.ceremony = pkcs11Ceremony(pool, options)
  }

  async load(kek: KekDescriptor): Promise<void> {
    const { version, label, keyId, gcm, canary } = kek
    this.#refuseForcedMode(kek)
    const aad = canaryAad(this.#options.install, version)
    this.pool.setKey({ op: 'load', version, label, keyId, gcm, canary, canaryAad: aad })
    this.#known.add(version)
    await this.prove(version)
  }

  loaded(): number[] {
    return this.pool.closed ? [] : [...this.#proved].sort((a, b) => a - b)
  }

  unload(version: number): Promise<void> {
    if (this.pool.closed) return Promise.reject(providerClosed())
    this.#distrust(version)
    return Promise.resolve()
  }

  async prove(version: number): Promise<void> {
    this.#require(version)
    try {
      const options = {
        ...this.#batchOptions([version]),
        urgent: true,
        patienceMs: PROOF_PATIENCE_MS,
      }
      await this.pool.run({ op: 'prove', version }, options)
      if (this.#known.has(version)) this.#proved.add(version)
    } catch (error) {
      // The key may be good and the token away: it stays known, and each new lane proves it again.
      this.#proved.delete(version)
      throw error
    }
  }

  async check(): Promise<number> {
    try {
      await this.pool.run({ op: 'check' }, { urgent: true, patienceMs: PROOF_PATIENCE_MS })
      return this.pool.stats.reconnects
    } catch (error) {
      this.#proved.clear()
      throw error
    }
  }

  async wrap(version: number, deks: readonly PlainDek[], signal?: AbortSignal): Promise<Wrapped[]> {
    this.#require(version)
    return this.#using(
      [version],
      wrapIn(this.pool, version, deks, this.#batchOptions([version], signal)),
    )
  }

  async unwrap(
    version: number,
    sealed: readonly SealedDek[],
    signal?: AbortSignal,
  ): Promise<(Buffer | KeyturnError)[]> {
    this.#require(version)
    return this.#using(
      [version],
      unwrapIn(this.pool, version, sealed, this.#batchOptions([version], signal)),
    )
  }

  async rewrap(batch: RewrapBatch, signal?: AbortSignal): Promise<RewrapAnswer> {
    this.#require(batch.from)
    this.#require(batch.to)
    const versions = [batch.from, batch.to]
    return this.#using(versions, rewrapIn(this.pool, batch, this.#batchOptions(versions, signal)))
  }

  stats(): ProviderStats {
    const { sessions, waiting, stats, trouble } = this.pool
    const { calls, reconnects, byCode } = stats
    return {
      sessions,
      waiting,
      calls,
      reconnects,
      byCode: { ...byCode },
      trouble: trouble && { message: trouble.error.message, since: trouble.since },
    }
  }

  close(): Promise<void> {
    return this.pool.close()
  }

  #batchOptions(versions: number[], signal?: AbortSignal): BatchOptions {
    return { versions, signal, onKeyFault: (version) => this.#distrust(version) }
  }

  /** When the token is away, the versions no longer count as loaded until they are proven again. */
  async #using<T>(versions: number[], use: Promise<T>): Promise<T> {
    try {
      return await use
    } catch (error) {
      const isAway = error instanceof KeyturnError && error.code === 'hsm-away'
      if (isAway) for (const version of versions) this.#proved.delete(version)
      throw error
    }
  }

  /** Removes a version until it is loaded again. */
  #distrust(version: number): void {
    this.#known.delete(version)
    this.#proved.delete(version)
    this.pool.dropKey(version)
  }

  #require(version: number): void {
    if (this.pool.closed) throw providerClosed()
    if (this.#known.has(version)) return
    throw new KeyturnError('kek-not-loaded', `version ${version} is not loaded`)
  }

  /** Refuses a version whose IV mode is not allowed by the setting. */
  #refuseForcedMode({ version, gcm }: KekDescriptor): void {
    const setting = this.#options.config.useGcmIvFromHsm
    if (modesToTry(setting).includes(gcm.ivMode)) return
    throw new KeyturnError(
      'iv-mode-refused',
      `version ${version} was installed with IV mode "${gcm.ivMode}", which use_gcm_iv_from_hsm "${String(setting)}" rules out`,
      { hint: 'set kek.pkcs11.use_gcm_iv_from_hsm to auto' },
    )
  }
}
