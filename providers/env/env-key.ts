import { createHash, randomBytes, timingSafeEqual, type KeyObject } from 'node:crypto'
import { KeyturnError } from '../../contracts/errors.ts'
import type { KekDescriptor } from '../../contracts/kek.ts'
import { canaryAad } from '../../envelope/aad.ts'
import { openWith, sealWith } from './env-gcm.ts'

/** A KEK from the environment with its canary. Counts its crypt calls as a token would. */
export class EnvKey {
  readonly #key: KeyObject
  readonly #kek: KekDescriptor
  readonly #aad: Buffer
  calls = 0

  constructor(key: KeyObject, kek: KekDescriptor, install: string) {
    this.#key = key
    this.#kek = kek
    this.#aad = canaryAad(install, kek.version)
  }

  seal(dek: Buffer, aad: Buffer): { iv: Buffer; wrapped: Buffer } {
    this.calls += 1
    return sealWith(this.#key, dek, aad)
  }

  /** Null when it does not open. */
  open(iv: Buffer, wrapped: Buffer, aad: Buffer): Buffer | null {
    this.calls += 1
    return openWith(this.#key, iv, wrapped, aad)
  }

  /** Opens the canary to its digest; throws wrong-key. */
  openCanary(): void {
    const { canary, label, version } = this.#kek
    const opened = this.open(Buffer.from(canary.dekIv), Buffer.from(canary.dekWrapped), this.#aad)
    const digest = opened && createHash('sha256').update(opened).digest()
    opened?.fill(0)
    if (digest !== null && timingSafeEqual(digest, canary.digest)) return
    throw new KeyturnError(
      'wrong-key',
      `"${label}" does not open the canary of version ${version}`,
      {
        hint: 'this host has another value in this variable: set it to the value of the other nodes',
      },
    )
  }

  /** Opens the canary, wraps a nonce and unwraps it. Throws wrong-key or cannot-encrypt. */
  prove(): void {
    this.openCanary()
    const nonce = randomBytes(32)
    const aad = randomBytes(32)
    const { iv, wrapped } = this.seal(nonce, aad)
    if (this.open(iv, wrapped, aad)?.equals(nonce) === true) return
    throw new KeyturnError(
      'cannot-encrypt',
      `"${this.#kek.label}" unwraps to other bytes than it wrapped`,
    )
  }
}
