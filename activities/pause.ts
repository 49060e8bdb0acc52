import { setTimeout as sleep } from 'node:timers/promises'

/** Waits inside an activity; rejects at once when the signal says that it was cancelled or the worker stops. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal })
}
