import type { VersionPlace } from '../contracts/uses.ts'
import type { VersionDoc } from '../store/documents.ts'
import { versionState } from '../protocol/version-state.ts'

/** A use that is not recorded yet. */
interface Waiting extends VersionPlace {
  readonly version: number
  count: number
  /** The last one, by `performance.now()`. */
  lastMs: number
}

export interface VersionUsesOptions {
  write: (version: number, uses: readonly (VersionPlace & { count: number })[]) => Promise<void>
  /** The database's time at a moment of `performance.now()`. */
  serverTime: (monotonicMs: number) => Date
}

/**
 * Uses of versions that are pending removal, to be recorded in `kek_uses`. A process learns of a removal up to a heartbeat
 * late, so it remembers the uses of all versions that are not active since it last read the keystore, and records those that
 * came after the request. Uses that could not be written are kept for the next heartbeat.
 */
export class VersionUses {
  readonly #options: VersionUsesOptions
  #waiting = new Map<string, Waiting>()
  #active: number | null = null
  /** Versions that are pending removal, and since when; null if that cannot be read. */
  #pending = new Map<number, Date | null>()
  #writing: Promise<void> | null = null

  constructor(options: VersionUsesOptions) {
    this.#options = options
  }

  /** An application or a sweep asks for a version at these places, one for each envelope. */
  note(version: number, places: readonly VersionPlace[]): void {
    if (version === this.#active && !this.#pending.has(version)) return
    const lastMs = performance.now()
    for (const { collection, field } of places) {
      const key = JSON.stringify([version, collection, field])
      const waiting = this.#waiting.get(key)
      if (waiting === undefined) {
        this.#waiting.set(key, { version, collection, field, count: 1, lastMs })
      } else {
        waiting.count += 1
        waiting.lastMs = lastMs
      }
    }
    // What fails is kept, and the next heartbeat reports the failure.
    if (this.#pending.has(version)) void this.write().catch(() => undefined)
  }

  /** Takes the keystore's versions as they are now, and forgets uses that need no record. */
  follow(rows: readonly VersionDoc[], active: number | null): void {
    this.#active = active
    this.#pending = new Map(
      rows
        .filter((row) => versionState(row, active) === 'pending-removal')
        .map((row) => [row._id, since(row)]),
    )
    for (const [key, use] of this.#waiting) if (!this.#isOfRemoval(use)) this.#waiting.delete(key)
  }

  /** Records what waits. Rejects if that fails; then it waits on. */
  async write(): Promise<void> {
    // Uses that were noted during a write are in the next one.
    await this.#writing?.catch(() => undefined)
    this.#writing ??= this.#writeOnce().finally(() => (this.#writing = null))
    await this.#writing
  }

  async #writeOnce(): Promise<void> {
    for (const version of this.#pending.keys()) {
      const uses = [...this.#waiting].filter(([, use]) => use.version === version)
      if (uses.length === 0) continue
      for (const [key] of uses) this.#waiting.delete(key)
      try {
        await this.#options.write(
          version,
          uses.map(([, use]) => use),
        )
      } catch (error) {
        for (const [key, use] of uses) this.#restore(key, use)
        throw error
      }
    }
  }

  #restore(key: string, use: Waiting): void {
    const newer = this.#waiting.get(key)
    this.#waiting.set(key, newer === undefined ? use : { ...newer, count: newer.count + use.count })
  }

  #isOfRemoval({ version, lastMs }: Waiting): boolean {
    const requestedAt = this.#pending.get(version)
    if (requestedAt === undefined) return false
    return requestedAt === null || this.#options.serverTime(lastMs) >= requestedAt
  }
}

function since({ removal }: VersionDoc): Date | null {
  const at: unknown = removal?.requested_at
  return at instanceof Date ? at : null
}
