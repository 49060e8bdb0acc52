import type { PoolLane } from './lane-set.ts'
import type { LoadRequest } from '../wire/messages.ts'

/**
 * The keys of a pool. Each `set` starts a new generation of the key. A lane that has not seen the generation looks the key
 * up and opens its canary before its first batch with it.
 */
export class PoolKeys {
  readonly #keys = new Map<number, { request: LoadRequest; generation: number }>()
  #generation = 0

  set(request: LoadRequest): void {
    this.#keys.set(request.version, { request, generation: ++this.#generation })
  }

  drop(version: number): void {
    this.#keys.delete(version)
  }

  /** What the lane must load before it works with these versions; call `seen` when it has. */
  unseen(
    versions: readonly number[],
    lane: PoolLane,
  ): { request: LoadRequest; seen: () => void }[] {
    return versions.flatMap((version) => {
      const key = this.#keys.get(version)
      if (key === undefined || lane.keys.get(version) === key.generation) return []
      const seen = (): void => void lane.keys.set(version, key.generation)
      return [{ request: key.request, seen }]
    })
  }
}
