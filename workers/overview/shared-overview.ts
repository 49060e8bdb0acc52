import { randomUUID } from 'node:crypto'
import pTimeout from 'p-timeout'
import type { DatedOverview } from '../../contracts/overview.ts'
import { reasonOf } from '../../contracts/reasons.ts'
import type { FleetSettings } from '../../contracts/settings.ts'
import type { Log } from '../../observability/log.ts'
import {
  claimOverview,
  postponeOverview,
  readOverview,
  writeOverview,
} from '../../store/kek-overview.ts'
import { readSettings, requireWhole } from '../../store/kek-settings.ts'
import { serverNow } from '../../store/store.ts'
import type { Store } from '../../store/store.ts'
import { takeOverview } from './take-overview.ts'

/** An overview is taken once in this time at most, in milliseconds. */
const everyMs = 60_000
/** And it takes at most this part of the time, however many envelopes there are. */
const shareOfTime = 0.1
/** How long a reader waits for a new overview, and for MongoDB, in milliseconds. */
const readersWaitMs = 2_000

/**
 * The overview that all workers of a keystore show. A read takes a new one if the last is old and no other worker does so;
 * where nobody reads, none is taken.
 */
export class SharedOverview {
  readonly #store: Store
  readonly #log: Log
  #taking: Promise<void> | null = null
  #isClosed = false
  #logged: string | null = null

  constructor(store: Store, log: Log) {
    this.#store = store
    this.#log = log
  }

  /** The last one; null before the first, and while MongoDB does not answer. Never throws. */
  async read(): Promise<DatedOverview | null> {
    this.#taking ??= this.#take().finally(() => {
      this.#taking = null
    })
    await pTimeout(this.#taking, { milliseconds: readersWaitMs, fallback: () => undefined })
    const reading = readOverview(this.#store).catch(() => null)
    return await pTimeout(reading, { milliseconds: readersWaitMs, fallback: () => null })
  }

  /** Waits a little for one that is being taken. */
  async close(): Promise<void> {
    this.#isClosed = true
    if (this.#taking === null) return
    await pTimeout(this.#taking, { milliseconds: readersWaitMs, fallback: () => undefined })
  }

  async #take(): Promise<void> {
    if (this.#isClosed) return
    try {
      const settings = await readSettings(this.#store)
      const claim = randomUUID()
      if (settings === null || !(await claimOverview(this.#store, claim))) return
      await this.#takeClaimed(claim, requireWhole(settings.settings))
      this.#logged = null
    } catch (error) {
      this.#warn(reasonOf(error))
    }
  }

  #warn(reason: string): void {
    if (this.#logged === reason || this.#isClosed) return
    this.#logged = reason
    this.#log.warn(`the overview of the pages: ${reason}`)
  }

  async #takeClaimed(claim: string, settings: FleetSettings): Promise<void> {
    const began = performance.now()
    try {
      const asOf = await serverNow(this.#store)
      const overview = await takeOverview(this.#store, settings)
      const pauseMs = Math.max(everyMs, (performance.now() - began) * (1 / shareOfTime - 1))
      await writeOverview(this.#store, claim, { asOf, pauseMs: Math.round(pauseMs), overview })
    } catch (error) {
      await postponeOverview(this.#store, claim, everyMs).catch(() => undefined)
      throw error
    }
  }
}
