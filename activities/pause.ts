import { setTimeout as sleep } from 'node:timers/promises'

/** Waits inside an activity; rejects at once when it is cancelled or the worker stops. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal })
}
