import { setTimeout as pause } from 'node:timers/promises'
import type { KeyturnError } from '../../../contracts/errors.ts'
import type { Log } from '../../../observability/log.ts'
import { CKR_SESSION_COUNT } from '../wire/ckr-codes.ts'
import { openError, OpenFailed, type LaneSet } from './lane-set.ts'
import { pauseAfter } from './fault-policy.ts'

/** Each attempt starts a process and logs in. */
const LONGEST_PAUSE_MS = 15_000

export interface LaneOpenerListener {
  /** The PIN was refused: no lane can be opened any more. */
  onFinal(error: KeyturnError): void
  /** No lane is open, and none can be opened now. */
  onTrouble(error: KeyturnError): void
  /** An attempt has succeeded or failed. */
  onEnd(): void
}

/** Opens one more lane on request, one attempt at a time, with growing pauses after failures. */
export class LaneOpener {
  readonly #laneSet: LaneSet
  readonly #log: Log
  readonly #listener: LaneOpenerListener
  readonly #stopped = new AbortController()
  #setbacks = 0
  /** The current attempt; it never rejects. */
  running: Promise<void> | undefined
  /** Why the last attempt failed; undefined after a success. */
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

  /** Ends the pause and starts no further attempt; the current one may finish. */
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
      // The pool was closed: the failure does not matter.
      if (this.#stopped.signal.aborted) return
      const fault = error instanceof OpenFailed ? error.fault : undefined
      const full = fault?.ckr === CKR_SESSION_COUNT && this.#laneSet.lanes.length > 0
      if (full) this.#laneSet.limitToPresent()
      else if (fault?.fault === 'pin') this.#listener.onFinal(openError(error))
      else await this.#backOff(openError(error))
    }
  }

  async #backOff(error: KeyturnError): Promise<void> {
    this.trouble = error
    this.#setbacks += 1
    if (this.#laneSet.lanes.length === 0) this.#listener.onTrouble(error)
    const { code, message: why } = error
    this.#log.warn({ code, why, times: this.#setbacks }, 'no lane can be opened')
    const { signal } = this.#stopped
    // The pause does not keep the program alive; a caller that waits for a lane does.
    await pause(pauseAfter(this.#setbacks, LONGEST_PAUSE_MS), undefined, {
      ref: false,
      signal,
    }).catch(() => null)
  }
}
