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

/** What the walks of a tail have come to. JSON. */
export interface WalkState {
  /** Envelopes that the rotation has dealt with, as its counters say. */
  dealt: number
  remaining: number
  /** Walks in a row that dealt with none, and after which no fewer remain. */
  idle: number
}

export const walksBegin: WalkState = { dealt: -1, remaining: Infinity, idle: 0 }

/** So many walks without progress, and what remains is out of a walk's reach: no further one would help. */
export const idleWalksAtMost = 10

/**
 * Whether another walk makes sense. A writer that lags gives each walk something to do; what is counted and never met, for
 * the index or the collection is another one by now, does not.
 */
export function observeWalk(
  previous: WalkState,
  seen: { dealt: number; remaining: number },
): WalkState & { stuck: boolean } {
  const hasProgress = seen.dealt !== previous.dealt || seen.remaining < previous.remaining
  const idle = hasProgress ? 0 : previous.idle + 1
  return { ...seen, idle, stuck: idle >= idleWalksAtMost }
}
