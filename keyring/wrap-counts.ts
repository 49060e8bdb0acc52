/**
 * Wraps since the last write to the keystore, by version: random 96-bit IVs limit a key to 2^32 of them (NIST SP 800-38D,
 * section 8.3). Counts that could not be written are kept.
 */
export class WrapCounts {
  #counts = new Map<number, number>()

  add(version: number, wraps: number): void {
    this.#counts.set(version, (this.#counts.get(version) ?? 0) + wraps)
  }

  async write(write: (counts: ReadonlyMap<number, number>) => Promise<void>): Promise<void> {
    if (this.#counts.size === 0) return
    const counts = this.#counts
    this.#counts = new Map()
    try {
      await write(counts)
    } catch (error) {
      for (const [version, wraps] of counts) this.add(version, wraps)
      throw error
    }
  }
}
