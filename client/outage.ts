import { KeyturnError } from '../contracts/errors.ts'
import { asStoreError } from '../store/store-errors.ts'

/** How long a command that waits for a workflow goes on without MongoDB, in milliseconds. */
const maxOutageMs = 60_000

/** MongoDB's outage while a command waits for a workflow, which goes on without the command. */
export class Outage {
  #lostAt: number | null = null

  /** Null when MongoDB is away. Throws every other error, and the outage's own once it has lasted for a minute. */
  async outlast<T>(look: () => Promise<T>): Promise<T | null> {
    try {
      const seen = await look()
      this.#lostAt = null
      return seen
    } catch (error) {
      const now = performance.now()
      this.#lostAt ??= now
      if (!isAway(error) || now - this.#lostAt > maxOutageMs) throw error
      return null
    }
  }
}

/** An error of the driver. A coded one, such as that no majority confirms writes, is an answer of MongoDB. */
function isAway(error: unknown): boolean {
  if (error instanceof KeyturnError) return false
  const coded = asStoreError(error)
  return coded instanceof KeyturnError && coded.code === 'mongodb-unreachable'
}
