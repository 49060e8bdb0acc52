import { KeyturnError } from '../contracts/errors.ts'
import type { MemberState } from './membership.ts'
import { reasonOf } from './failed-keys.ts'
import type { LoadedKeys } from './loaded-keys.ts'

export interface ActiveVersion {
  version: number
  epoch: number
}

/** The active version as this process last read it, and what its keys can do with it. */
export class FollowedVersion {
  readonly #keys: LoadedKeys
  #active: ActiveVersion | null = null

  constructor(keys: LoadedKeys) {
    this.#keys = keys
  }

  /** Null before any version was active. */
  get active(): ActiveVersion | null {
    return this.#active
  }

  /** The active version's number; null before any version was active. */
  get version(): number | null {
    return this.#active?.version ?? null
  }

  /** Returns whether the active version changed. */
  follow({ version, epoch }: ActiveVersion): boolean {
    if (this.#active?.epoch === epoch && this.#active.version === version) return false
    this.#active = { version, epoch }
    return true
  }

  /** What this process wraps under; null when it cannot. */
  usable(): number | null {
    return this.degraded() === null ? this.version : null
  }

  degraded(): MemberState['degraded'] {
    if (this.#active === null || this.#keys.isLoaded(this.#active.version)) return null
    const { version } = this.#active
    const failure = this.#keys.failureOf(version)
    if (failure !== null) return { reason: reasonOf(failure), message: failure.message }
    return { reason: 'not-loaded', message: `version "${version}" is not loaded` }
  }

  /** Why this process cannot wrap, apart from its lease; null when it can. */
  problem(): KeyturnError | null {
    if (this.#active === null) {
      return new KeyturnError('not-installed', 'no version is active in this database yet', {
        hint: 'run: keyturn pkcs11-init --version 1, or: keyturn env-init --version 1',
      })
    }
    const { version } = this.#active
    if (this.#keys.isLoaded(version)) return null
    return (
      this.#keys.failureOf(version) ??
      new KeyturnError('kek-not-loaded', `version "${version}" is not loaded`)
    )
  }
}
