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
