import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { KeyturnError, type ErrorCode } from '../contracts/errors.ts'
import type { KekDescriptor, ProviderName } from '../contracts/kek.ts'
import type { Log } from '../observability/log.ts'
import type { KekProvider } from '../providers/provider.ts'
import { absentProvider } from './absent-provider.ts'

/** Another login could lock the token: after these errors only another PIN is tried, or `renew`. */
const final: ReadonlySet<ErrorCode> = new Set(['pin-refused', 'pin-locked'])
const FIRST_PAUSE_MS = 1_000
const LONGEST_PAUSE_MS = 15_000

export interface ReopenOptions {
  name: ProviderName
  /** Opens the key store with the current configuration and PIN file: a new process of the module, one login. */
  open: () => Promise<KekProvider>
  /** Reads the currently configured PIN; null when there is none. Without this member only `renew` tries again after a refused PIN. */
  pinNow?: () => string | null
  log: Log
}

/** The provider of a process whose key store may be missing at first, or may get another PIN while the process runs. */
export interface ReopenedProvider extends KekProvider {
  /** Why there are no keys now; null while the key store is open. */
  trouble(): KeyturnError | null
  /** The listener is called whenever the key store was opened after it had not been. */
  onOpened(listener: () => void): void
  /** Reopens the key store, with one try. If that fails, the open one stays in use, and the error is logged and returned. */
  renew(): Promise<KeyturnError | null>
}

/**
 * Opens a key store. If that fails, the provider rejects every use and keeps trying to open it, with growing pauses and
 * without an end; after a refused PIN only another PIN is tried, once. Errors of the configuration are thrown.
 */
export async function openReopening(options: ReopenOptions): Promise<ReopenedProvider> {
  const store = new KeyStore(options)
  await store.begin()
  return store.asProvider()
}

class KeyStore {
  readonly #options: ReopenOptions
  readonly #kek = new Map<number, KekDescriptor>()
  readonly #listeners: (() => void)[] = []
  readonly #closed = new AbortController()
  #current: KekProvider
  #trouble: KeyturnError | null = null
  /** The reconnects of all previous key stores, plus one for each replacement, so that `check` never decreases. */
  #reconnects = 0
  #turn: Promise<unknown> = Promise.resolve()
  #isLooking = false
  /** The PIN of the last attempt, as a hash. */
  #tried: string | null = null

  constructor(options: ReopenOptions) {
    this.#options = options
    this.#current = absentProvider(options.name, new KeyturnError('pool-closed', 'not opened yet'))
  }

  async begin(): Promise<void> {
    try {
      this.#current = await this.#open()
    } catch (error) {
      if (!(error instanceof KeyturnError) || error.exitCode !== 4) throw error
      this.#standIn(error)
      void this.#lookAgain()
    }
  }

  asProvider(): ReopenedProvider {
    const now = (): KekProvider => this.#current
    const ceremonyOf = () => now().ceremony
    const members: ReopenedProvider = {
      name: this.#options.name,
      load: async (kek) => {
        this.#kek.set(kek.version, kek)
        await now().load(kek)
      },
      loaded: () => now().loaded(),
      unload: async (version) => {
        this.#kek.delete(version)
        await now().unload(version)
      },
      prove: (version) => now().prove(version),
      check: async () => this.#reconnects + (await now().check()),
      wrap: (version, deks, signal) => now().wrap(version, deks, signal),
      unwrap: (version, sealed, signal) => now().unwrap(version, sealed, signal),
      rewrap: (batch, signal) => now().rewrap(batch, signal),
      get ceremony() {
        return ceremonyOf()
      },
      stats: () => now().stats(),
      close: () => this.#close(),
      trouble: () => this.#trouble,
      onOpened: (listener) => void this.#listeners.push(listener),
      renew: () => this.#inTurn(() => this.#renew()),
    }
    return members
  }

  #standIn(error: KeyturnError): void {
    const { name, log } = this.#options
    if (this.#trouble?.message !== error.message) {
      log.error({ code: error.code, hint: error.hint }, `degraded: ${error.message}`)
    }
    this.#trouble = error
    this.#current = absentProvider(name, error)
  }

  #open(): Promise<KekProvider> {
    this.#tried = this.#pinNow()
    return this.#options.open()
  }

  #pinNow(): string | null {
    const pin = this.#options.pinNow?.() ?? null
    return pin === null ? null : createHash('sha256').update(pin).digest('hex')
  }

  /** Tries until the key store is open. */
  async #lookAgain(): Promise<void> {
    if (this.#isLooking) return
    this.#isLooking = true
    const { signal } = this.#closed
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      await sleep(pauseMs, undefined, { signal, ref: false }).catch(() => undefined)
      if (signal.aborted || this.#trouble === null) break
      await this.#inTurn(async () => {
        if (this.#mayTry()) await this.#renew()
      })
    }
    this.#isLooking = false
  }

  #mayTry(): boolean {
    if (this.#trouble === null) return false
    if (!final.has(this.#trouble.code)) return true
    const pin = this.#pinNow()
    return pin !== null && pin !== this.#tried
  }

  /** Runs one use at a time: each is a login. */
  #inTurn<T>(use: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(use)
    this.#turn = turn.catch(() => undefined)
    return turn
  }

  async #renew(): Promise<KeyturnError | null> {
    let opened: KekProvider
    try {
      opened = await this.#open()
    } catch (error) {
      if (!(error instanceof KeyturnError)) throw error
      if (this.#trouble !== null) this.#standIn(error)
      return error
    }
    if (this.#closed.signal.aborted) {
      await opened.close()
      return null
    }
    await this.#take(opened)
    return null
  }

  /** Loads the keys before the new provider is used. Calls in progress finish with the previous one. */
  async #take(opened: KekProvider): Promise<void> {
    const { log } = this.#options
    for (const kek of this.#kek.values()) {
      await opened.load(kek).catch((error: unknown) => {
        log.error({ err: error }, `version ${kek.version} could not be loaded again`)
      })
    }
    const before = this.#current
    const wasAbsent = this.#trouble !== null
    this.#current = opened
    this.#reconnects += 1 + before.stats().reconnects
    this.#trouble = null
    if (wasAbsent) {
      log.info('the key store is open')
      for (const listener of this.#listeners) listener()
    }
    await before.close()
  }

  async #close(): Promise<void> {
    this.#closed.abort()
    await this.#turn
    await this.#current.close()
  }
}
