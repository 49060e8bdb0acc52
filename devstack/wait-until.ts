import { setTimeout as sleep } from 'node:timers/promises'

/** Calls `check` every `everyMs` until its result is neither false nor null; throws with `what` after `withinMs`. */
export async function waitUntil<T>(
  what: string,
  check: () => Promise<T | false | null> | T | false | null,
  options: { withinMs: number; everyMs?: number },
): Promise<T> {
  const started = performance.now()
  for (;;) {
    const result = await check()
    if (result !== false && result !== null) return result
    const elapsed = performance.now() - started
    if (elapsed > options.withinMs) {
      throw new Error(`gave up after ${Math.round(elapsed / 1000).toString()} s: ${what}`)
    }
    await sleep(options.everyMs ?? 50)
  }
}
