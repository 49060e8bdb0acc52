import type { WalkState } from '../contracts/rotation.ts'

/** Since when the census of A has been zero at every look; null if it was not zero at the last. JSON. */
export interface TailState {
  zeroSinceMs: number | null
}

export const tailBegins: TailState = { zeroSinceMs: null }

/**
 * The tail ends when the census of A, without quarantine, is 0 twice, one heartbeat apart by the observer's clock: what a
 * process wrapped just before it switched has been written by then, or is refused by removal's validator.
 */
export function observeTail(
  previous: TailState,
  seen: { remaining: number; observerMs: number; heartbeatMs: number },
): TailState & { done: boolean } {
  if (seen.remaining > 0) return { zeroSinceMs: null, done: false }
  const isRunning = previous.zeroSinceMs !== null && previous.zeroSinceMs <= seen.observerMs
  const zeroSinceMs = isRunning ? (previous.zeroSinceMs ?? seen.observerMs) : seen.observerMs
  return { zeroSinceMs, done: isRunning && seen.observerMs - zeroSinceMs >= seen.heartbeatMs }
}

export const walksBegin: WalkState = { dealt: -1, remaining: null, fewest: null, idle: 0, vain: 0 }

/** After this many walks in a row without progress, a walk cannot reach what remains. */
export const idleWalksAtMost = 10

/**
 * After this many walks, each at least one heartbeat after the last, without fewer envelopes remaining, an application must
 * be writing old bytes back: no process lags that long.
 */
export const vainWalksAtMost = 100

/**
 * Whether another walk makes sense. `idle`: walks do not meet what is counted, because the index or the collection was
 * replaced. `vain`: walks meet it, and it comes back each time. Until then a lagging writer is waited for.
 */
export function observeWalk(
  previous: WalkState,
  seen: { dealt: number; remaining: number },
): WalkState & { stuck: 'idle' | 'vain' | null } {
  const { dealt, remaining } = seen
  const isFewer = previous.remaining === null || remaining < previous.remaining
  const isFewest = previous.fewest === null || remaining < previous.fewest
  const idle = isFewer || dealt !== previous.dealt ? 0 : previous.idle + 1
  const vain = isFewest ? 0 : previous.vain + 1
  const fewest = isFewest ? remaining : previous.fewest
  const stuck = idle >= idleWalksAtMost ? 'idle' : vain >= vainWalksAtMost ? 'vain' : null
  return { dealt, remaining, fewest, idle, vain, stuck }
}
