import { setTimeout as sleep } from 'node:timers/promises'
import { defaultGrpcRetryOptions, type GrpcRetryOptions } from '@temporalio/client'

/** Fewer than the SDK's ten: a person waits, and followers have a patience of their own. */
const callAttempts = 4

const { retryableDecider, delayFunction } = defaultGrpcRetryOptions({ maxAttempts: callAttempts })

/**
 * When a call of one connection is repeated. A call that nobody waits for any more may still be pausing before its next try
 * when the connection is about to be closed; begun after that, the try would throw from its timer, where nobody catches it.
 */
export class Retries implements GrpcRetryOptions {
  #isEnding = false
  /** When the last try that is put off begins, by performance.now(). */
  #lastAt = 0

  readonly retryableDecider: GrpcRetryOptions['retryableDecider'] = (attempt, status) =>
    !this.#isEnding && retryableDecider(attempt, status)

  readonly delayFunction: GrpcRetryOptions['delayFunction'] = (attempt, status) => {
    const ms = delayFunction(attempt, status)
    this.#lastAt = Math.max(this.#lastAt, performance.now() + ms)
    return ms
  }

  /** From now on no call is repeated. Returns once the tries that were put off have begun. */
  async end(): Promise<void> {
    this.#isEnding = true
    // A timer may be a little late: those that are due earlier run before this one.
    const leftMs = this.#lastAt - performance.now()
    if (leftMs > 0) await sleep(Math.ceil(leftMs) + 1)
  }
}
