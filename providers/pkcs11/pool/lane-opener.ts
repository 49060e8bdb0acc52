import { setTimeout as pause } from 'node:timers/promises'
import type { KeyturnError } from '../../../contracts/errors.ts'
import type { Log } from '../../../observability/log.ts'
import { openError, OpenFailed, type LaneSet } from './lane-set.ts'
import { pauseAfter } from './fault-policy.ts'

const CKR_SESSION_COUNT = 177
/** Each attempt is a process and a login. */
const LONGEST_PAUSE_MS = 15_000

export interface LaneOpenerListener {
  /** A PIN was refused: no lane can ever be opened again. */
  onFinal(error: KeyturnError): void
  /** No lane is open and none can be opened at present. */
  onTrouble(error: KeyturnError): void
  /** One attempt has ended, well or not. */
  onEnd(): void
}

/** Opens one lane more when asked, one attempt at a time, with growing pauses while they fail. */
export class LaneOpener {
  readonly #laneSet: LaneSet
  readonly #log: Log
  readonly #listener: LaneOpenerListener
  readonly #stopped = new AbortController()
  #setbacks = 0
  /** The attempt that is under way; it never rejects. */
  running: Promise<void> | undefined
  /** Why the last attempt failed; undefined after one that did not. */
  trouble: KeyturnError | undefined

  constructor(laneSet: LaneSet, log: Log, listener: LaneOpenerListener) {
    this.#laneSet = laneSet
    this.#log = log
    this.#listener = listener
  }

  start(): void {
    if (this.running !== undefined) return
    this.running = this.#attempt().finally(() => {
      this.running = undefined
      this.#listener.onEnd()
    })
  }

  /** Ends the pause, and begins no further attempt; the one under way may end. */
  stop(): void {
    this.#stopped.abort()
    this.#laneSet.stopOpening()
  }

  async #attempt(): Promise<void> {
    try {
      await this.#laneSet.open()
      this.trouble = undefined
      this.#setbacks = 0
    } catch (error) {
      // Ended by us: what it met then is nobody's trouble.
      if (this.#stopped.signal.aborted) return
      const fault = error instanceof OpenFailed ? error.fault : undefined
      const full = fault?.ckr === CKR_SESSION_COUNT && this.#laneSet.lanes.length > 0
      if (full) this.#laneSet.limitToPresent()
      else if (fault?.fault === 'pin') this.#listener.onFinal(openError(error))
      else await this.#endure(openError(error))
    }
  }

  async #endure(error: KeyturnError): Promise<void> {
    this.trouble = error
    this.#setbacks += 1
    if (this.#laneSet.lanes.length === 0) this.#listener.onTrouble(error)
    const { code, message: why } = error
    this.#log.warn({ code, why, times: this.#setbacks }, 'no lane can be opened')
    const { signal } = this.#stopped
    // It does not keep the program alive: whoever waits for a lane does.
    await pause(pauseAfter(this.#setbacks, LONGEST_PAUSE_MS), undefined, {
      ref: false,
      signal,
    }).catch(() => null)
  }
}
