import type { KeyturnError } from '../contracts/errors.ts'
import type { NotReadyReason } from '../contracts/fleet.ts'

/** The longest pause for a wrong key or one that cannot encrypt: each try costs crypt calls and rarely succeeds. */
const longestPauseMs = 3_600_000

interface Failure {
  error: KeyturnError
  /** The nonce of the question that the last try answered; null for none. */
  answers: string | null
  /** Failures of this kind in a row. */
  times: number
  /** By `performance.now()`. */
  retryAtMs: number
}

/** The versions that could not be loaded or proven: the error, and when each is tried again. */
export class FailedKeys {
  readonly #failures = new Map<number, Failure>()
  readonly #onFailure: (version: number, error: KeyturnError) => void

  /** `onFailure` is called for each version that begins to fail, or fails with another code. */
  constructor(onFailure: (version: number, error: KeyturnError) => void) {
    this.#onFailure = onFailure
  }

  add(
    version: number,
    {
      error,
      answers,
      heartbeatMs,
    }: { error: KeyturnError; answers: string | null; heartbeatMs: number },
  ): void {
    const before = this.#failures.get(version)
    const isNew = before?.error.code !== error.code
    const times = isNew ? 1 : before.times + 1
    const pauseMs = costsCalls(error) ? Math.min((2 ** (times - 1) - 1) * heartbeatMs, longestPauseMs) : 0 // prettier-ignore
    const retryAtMs = performance.now() + pauseMs
    this.#failures.set(version, { error, answers, times, retryAtMs })
    if (isNew) this.#onFailure(version, error)
  }

  clear(version: number): void {
    this.#failures.delete(version)
  }

  retryNow(): void {
    for (const failure of this.#failures.values()) failure.retryAtMs = 0
  }

  /** Whether a version may be tried again; true for one that did not fail. */
  isDue(version: number): boolean {
    return performance.now() >= (this.#failures.get(version)?.retryAtMs ?? 0)
  }

  versions(): number[] {
    return [...this.#failures.keys()]
  }

  errorOf(version: number): KeyturnError | null {
    return this.#failures.get(version)?.error ?? null
  }

  /** The question that the failure answers; undefined for a version that did not fail. */
  answersOf(version: number): string | null | undefined {
    return this.#failures.get(version)?.answers
  }

  all(): { version: number; reason: NotReadyReason; answers: string | null }[] {
    return [...this.#failures].map(([version, { error, answers }]) => ({
      version,
      reason: reasonOf(error),
      answers,
    }))
  }
}

/** The reason why a process is not ready, for its provider's error. */
export function reasonOf(error: KeyturnError): NotReadyReason {
  switch (error.code) {
    case 'wrong-key':
    case 'cannot-encrypt':
    case 'material-missing':
      return error.code
    case 'key-not-found':
    case 'key-ambiguous':
      return 'material-missing'
    default:
      return 'not-loaded'
  }
}

function costsCalls({ code }: KeyturnError): boolean {
  return code === 'wrong-key' || code === 'cannot-encrypt'
}
