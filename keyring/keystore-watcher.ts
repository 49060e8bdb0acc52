import type { Log } from '../observability/log.ts'
import { fleetSize, watchKeystore } from '../store/kek-changes.ts'
import type { Store } from '../store/store.ts'

/** How often a stream is tried, in milliseconds. */
const retryMs = 30_000
/**
 * The largest fleet with change streams. MongoDB reads its whole oplog for each stream: 300 streams would read each page of a
 * rotation, and each other's heartbeats, 300 times. A larger fleet relies on its heartbeats.
 */
export const followersAtMost = 32

/**
 * Calls `onChange` as soon as the keystore has changed, through a change stream where one is possible. A change only triggers
 * an earlier beat; what counts is what the beat reads, so a slow, missing or forged stream does no harm. Failures are only
 * logged at level debug, and the heartbeats continue.
 */
export class KeystoreWatcher {
  readonly #store: Store
  readonly #onChange: () => void
  readonly #log: Log
  readonly #retryMs: number
  #stream: ReturnType<typeof watchKeystore> | null = null
  #triedMs = -Infinity
  #pauseMs = 0
  #isClosed = false

  constructor(options: { store: Store; onChange: () => void; log: Log; retryMs?: number }) {
    this.#retryMs = options.retryMs ?? retryMs
    this.#store = options.store
    this.#onChange = options.onChange
    this.#log = options.log
  }

  get isFollowing(): boolean {
    return this.#stream !== null
  }

  /** Opens the stream unless it is open or was tried recently; closes it when the fleet has grown. Call it after each beat. */
  async follow(): Promise<void> {
    if (this.#isClosed || performance.now() - this.#triedMs < this.#pauseMs) return
    this.#triedMs = performance.now()
    this.#pauseMs = this.#retryMs
    try {
      if ((await fleetSize(this.#store)) > followersAtMost) {
        // A large fleet seldom shrinks, and each look is a query of each process.
        this.#pauseMs = 10 * this.#retryMs
        await this.#drop()
        return
      }
      // `close` may have been called while the fleet was counted.
      if (!this.#mayOpen()) return
      const stream = watchKeystore(this.#store)
      this.#stream = stream
      stream.on('change', () => this.#onChange())
      stream.on('error', (err: unknown) => this.#failed(err))
    } catch (err) {
      this.#failed(err)
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#drop()
  }

  #mayOpen(): boolean {
    return !this.#isClosed && this.#stream === null
  }

  #failed(err: unknown): void {
    this.#log.debug({ err }, 'no change stream: the keystore is read with each heartbeat')
    void this.#drop()
  }

  async #drop(): Promise<void> {
    const stream = this.#stream
    this.#stream = null
    if (stream === null) return
    stream.removeAllListeners('change')
    await stream.close().catch(() => undefined)
  }
}
