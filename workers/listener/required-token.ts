import { createHash, timingSafeEqual } from 'node:crypto'
import { readWorkerToken } from '../../config/worker-token.ts'
import { reasonOf } from '../../contracts/reasons.ts'
import type { Log } from '../../observability/log.ts'

/** A changed file is in force after this time, in milliseconds. */
const readForMs = 1_000

/**
 * The token that requests must carry, read again when its file changes. While the file cannot be used, no token is right:
 * so deleting it ends all access. Throws `config-invalid` if it cannot be used at the start.
 */
export class RequiredToken {
  readonly #file: string
  readonly #log: Log
  #digest: Buffer | null
  #readAt = performance.now()
  #logged: string | null = null

  constructor(file: string, log: Log) {
    this.#file = file
    this.#log = log
    this.#digest = sha256(readWorkerToken(file))
  }

  /** Whether this is `Bearer` with the token. The time of the comparison does not depend on the token. */
  isIn(authorization: string | undefined): boolean {
    const [, token] = /^Bearer +(\S+) *$/i.exec(authorization ?? '') ?? []
    if (token === undefined) return false
    const digest = this.#current()
    return digest !== null && timingSafeEqual(sha256(token), digest)
  }

  #current(): Buffer | null {
    if (performance.now() - this.#readAt < readForMs) return this.#digest
    this.#readAt = performance.now()
    try {
      this.#digest = sha256(readWorkerToken(this.#file))
      this.#logged = null
    } catch (error) {
      this.#digest = null
      this.#warn(reasonOf(error))
    }
    return this.#digest
  }

  #warn(reason: string): void {
    if (this.#logged === reason) return
    this.#logged = reason
    this.#log.warn(`no token is accepted on the worker's listener: ${reason}`)
  }
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text, 'latin1').digest()
}
