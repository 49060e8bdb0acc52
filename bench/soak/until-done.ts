import { setTimeout as sleep } from 'node:timers/promises'

/** Longer than servers are away, on a busy machine too. */
const giveUpMs = 600_000

/** Repeats what fails while a server is away. */
export async function untilDone<T>(what: string, work: () => Promise<T>): Promise<T> {
  const began = performance.now()
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (performance.now() - began > giveUpMs) throw new Error(what, { cause: error })
      await sleep(500)
    }
  }
}
