import { setTimeout as sleep } from 'node:timers/promises'
import { runningRotation } from '../store/rotations.ts'
import { sumCounters } from '../store/rewrap-ranges.ts'
import type { Store } from '../store/store.ts'

/** Number of envelopes that the running rotation has processed; 0 when none runs. */
export async function dealtWith(store: Store): Promise<number> {
  const row = await runningRotation(store)
  const { rewrapped, superseded, quarantined } = await sumCounters(store, row?._id ?? '')
  return rewrapped + superseded + quarantined
}

/** Resolves when the running rotation has processed so many envelopes. */
export async function reached(store: Store, envelopes: number): Promise<void> {
  while ((await dealtWith(store)) < envelopes) await sleep(50)
}
