import type { WalkState } from '../contracts/rotation.ts'

/** When the census of A was first seen at zero with nothing but zeros since; null while it is not. JSON. */
export interface TailState {
  zeroSinceMs: number | null
}

export const tailBegins: TailState = { zeroSinceMs: null }

/**
 * The tail sweep ends when the census of A, without quarantine, is 0 twice, one heartbeat apart by the observer's
 * clock: what a process wrapped just before it moved on has been written, or will be met by removal's fence.
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

/** So many walks without progress, and what remains is out of a walk's reach: no further one would help. */
export const idleWalksAtMost = 10

/**
 * So many walks, each a heartbeat or more after the one before, and never fewer envelopes: nobody lags that long. Somebody
 * writes old bytes back again and again.
 */
export const vainWalksAtMost = 100

/**
 * Whether another walk makes sense. `idle`: what is counted is never met, for the index or the collection is another one by
 * now. `vain`: it is met each time, and is there again. A writer that lags is waited for until then.
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
