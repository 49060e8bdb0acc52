import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { KeyturnError, type ErrorCode } from '../contracts/errors.ts'
import type { KekDescriptor, ProviderName } from '../contracts/kek.ts'
import type { Log } from '../observability/log.ts'
import type { KekProvider } from '../providers/provider.ts'
import { absentProvider } from './absent-provider.ts'

/** Another login would only make it worse: nothing is tried again before there is another PIN, or somebody says so (`renew`). */
const final: ReadonlySet<ErrorCode> = new Set(['pin-refused', 'pin-locked'])
const FIRST_PAUSE_MS = 1_000
const LONGEST_PAUSE_MS = 15_000

export interface Reopening {
  name: ProviderName
  /** Opens it anew by what the configuration and the PIN file say now: a new process of the module, one login. */
  open: () => Promise<KekProvider>
  /** The PIN that it would be opened with now; null when there is none. Without this only `renew` ends a refused PIN. */
  pinNow?: () => string | null
  log: Log
}

/** The provider of a process that outlives its key store: one that is not there yet, and one whose PIN is changed. */
export interface ReopenedProvider extends KekProvider {
  /** Why there are no keys at present; null while the key store is open. */
  trouble(): KeyturnError | null
  /** Called whenever it was opened after it had not been. */
  onOpened(listener: () => void): void
  /** Opens it anew, once. What is open stays in use when that fails; the failure is told in the log, and returned. */
  renew(): Promise<KeyturnError | null>
}

/**
 * Opens a key store, or stands in for it and looks for it again, with growing pauses and without end; after a refused PIN
 * nothing is tried but another PIN, once. What is wrong with the configuration is thrown.
 */
export async function openReopening(options: Reopening): Promise<ReopenedProvider> {
  const store = new KeyStore(options)
  await store.begin()
  return store.asProvider()
}

class KeyStore {
  readonly #options: Reopening
  readonly #kek = new Map<number, KekDescriptor>()
  readonly #listeners: (() => void)[] = []
  readonly #closed = new AbortController()
  #current: KekProvider
  #trouble: KeyturnError | null = null
  /** Of the key stores before this one, and one for each that took another's place: `check` only grows. */
  #reconnects = 0
  #turn: Promise<unknown> = Promise.resolve()
  #isLooking = false
  /** The PIN of the last attempt, as a hash. */
  #tried: string | null = null

  constructor(options: Reopening) {
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

  /** Until it is open. */
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

  /** One after the other: each is a login. */
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

  /** Keys are loaded before it is in use; what is under way ends with the one that was. */
  async #take(opened: KekProvider): Promise<void> {
    const { log } = this.#options
    for (const kek of this.#kek.values()) {
      await opened.load(kek).catch((error: unknown) => {
        log.error({ err: error }, `version ${kek.version} could not be loaded anew`)
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
