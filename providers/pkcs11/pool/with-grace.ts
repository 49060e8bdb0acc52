/** How long a running call of the module may still take after an abort: a login, or making a key. */
export const GRACE_MS = 3_000

/** Runs `use`. If it has not ended `graceMs` after an abort, calls `giveUp`, which must make it end. */
export async function withGrace<T>(
  signal: AbortSignal | undefined,
  giveUp: () => void,
  use: () => Promise<T>,
  graceMs: number = GRACE_MS,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const begin = (): void => {
    timer = setTimeout(giveUp, graceMs)
  }
  signal?.addEventListener('abort', begin, { once: true })
  if (signal?.aborted === true) begin()
  try {
    return await use()
  } finally {
    signal?.removeEventListener('abort', begin)
    clearTimeout(timer)
  }
}
