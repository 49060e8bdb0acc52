/** How long a call of the module that is under way may still take once somebody wants to leave: a login, a key that is made. */
const GRACE_MS = 3_000

/** Runs `use`; from the signal on it has the grace to end, then `giveUp` is called, which must make it end. */
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
