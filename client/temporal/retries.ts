import { defaultGrpcRetryOptions, type GrpcRetryOptions } from '@temporalio/client'

/** Fewer than the SDK's ten: a person waits, and followers have a patience of their own. */
const callAttempts = 4

const { retryableDecider, delayFunction } = defaultGrpcRetryOptions({ maxAttempts: callAttempts })

/**
 * When a call of one connection is repeated. A call that nobody waits for any more may still pause before its next attempt
 * when the connection is about to be closed. An attempt that begins after that throws from a timer, where no one catches it.
 */
export class Retries implements GrpcRetryOptions {
  #isEnding = false
  /** Attempts that pause before they begin. */
  #pausing = 0
  #onBegun: () => void = () => undefined
  readonly #calls = new WeakSet<object>()

  readonly retryableDecider: GrpcRetryOptions['retryableDecider'] = (attempt, status) =>
    !this.#isEnding && retryableDecider(attempt, status)

  readonly delayFunction: GrpcRetryOptions['delayFunction'] = (attempt, status) => {
    this.#pausing++
    return delayFunction(attempt, status)
  }

  /** Call it as each attempt begins. All attempts of a call have the same options object. */
  begin(options: object): void {
    if (this.#calls.has(options)) {
      this.#pausing--
      this.#onBegun()
    }
    this.#calls.add(options)
  }

  /** From now on no call is repeated. Returns once the attempts that pause have begun. */
  async end(): Promise<void> {
    this.#isEnding = true
    while (this.#pausing > 0) await new Promise<void>((resolve) => (this.#onBegun = resolve))
  }
}
