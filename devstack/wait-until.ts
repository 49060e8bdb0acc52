import { setTimeout as sleep } from 'node:timers/promises'

/** Asks again every `everyMs` until the answer is neither false nor null, and throws with `what` after `withinMs`. */
export async function waitUntil<T>(
  what: string,
  ask: () => Promise<T | false | null> | T | false | null,
  options: { withinMs: number; everyMs?: number },
): Promise<T> {
  const started = performance.now()
  for (;;) {
    const answer = await ask()
    if (answer !== false && answer !== null) return answer
    const elapsed = performance.now() - started
    if (elapsed > options.withinMs) {
      throw new Error(`gave up after ${Math.round(elapsed / 1000).toString()} s: ${what}`)
    }
    await sleep(options.everyMs ?? 50)
  }
}
