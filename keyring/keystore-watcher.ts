import type { Log } from '../observability/log.ts'
import { fleetSize, watchKeystore } from '../store/kek-changes.ts'
import type { Store } from '../store/store.ts'

/** Between two looks whether there can be a stream, in milliseconds. */
const retryMs = 30_000
/**
 * MongoDB reads its whole log once for each stream, so in a larger fleet the heartbeats have to do: 300 streams would read
 * each page of a rotation, and each other's heartbeats, 300 times.
 */
export const followersAtMost = 32

/**
 * Tells at once when the keystore has changed, through a change stream where there can be one. It is only ever a reason to
 * look earlier: what counts is what a beat then reads, so a stream that is slow, missing or forged does no harm. Failures
 * are silent, and the heartbeats go on.
 */
export class KeystoreWatcher {
  readonly #store: Store
  readonly #tell: () => void
  readonly #log: Log
  readonly #retryMs: number
  #stream: ReturnType<typeof watchKeystore> | null = null
  #triedMs = -Infinity
  #pauseMs = 0
  #isClosed = false

  constructor(options: { store: Store; tell: () => void; log: Log; retryMs?: number }) {
    this.#retryMs = options.retryMs ?? retryMs
    this.#store = options.store
    this.#tell = options.tell
    this.#log = options.log
  }

  get isFollowing(): boolean {
    return this.#stream !== null
  }

  /** Opens the stream unless it is open, or was tried lately; closes it when the fleet has grown. Call it after each beat. */
  async follow(): Promise<void> {
    if (this.#isClosed || performance.now() - this.#triedMs < this.#pauseMs) return
    this.#triedMs = performance.now()
    this.#pauseMs = this.#retryMs
    try {
      if ((await fleetSize(this.#store)) > followersAtMost) {
        // A large fleet seldom shrinks, and each look is a question of each process.
        this.#pauseMs = 10 * this.#retryMs
        await this.#drop()
        return
      }
      // It may have been closed while the fleet was counted.
      if (!this.#mayOpen()) return
      const stream = watchKeystore(this.#store)
      this.#stream = stream
      stream.on('change', () => this.#tell())
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
