/**
 * What this process has asked of MongoDB or Temporal and has no answer to yet: whoever shows progress looks here, so that
 * nothing is waited for in silence.
 */

export interface Awaited {
  /** As it ends the sentence "waits for …". */
  what: string
  /** When it was asked. */
  since: Date
}

/** An answer that takes longer is worth a word, in milliseconds. */
const patienceMs = 2_500

const asked = new Set<Awaited>()

/** Notes that `ask` is waited for as long as it runs. */
export async function awaiting<T>(what: string, ask: () => Promise<T>): Promise<T> {
  const entry = { what, since: new Date() }
  asked.add(entry)
  try {
    return await ask()
  } finally {
    asked.delete(entry)
  }
}

/** What has been waited for longest; null when nothing has been for more than a few seconds. */
export function longAwaited(now = Date.now()): Awaited | null {
  for (const entry of asked) if (isLong(entry, now)) return entry
  return null
}

/** Whether it takes longer than is usual. */
export function isLong({ since }: Awaited, now = Date.now()): boolean {
  return now - since.getTime() >= patienceMs
}

/** `mongodb: an update of kek_versions, for 4 s`. */
export function awaitedText({ what, since }: Awaited, now = Date.now()): string {
  return `${what}, for ${Math.round((now - since.getTime()) / 1000)} s`
}

/** Between two words about the same wait, in milliseconds. */
const sayAgainMs = 10_000
const lookEveryMs = 500

/**
 * Calls `say` as soon as something is waited for longer than usual, and every ten seconds from then on; returns what ends
 * it. It keeps no process alive.
 */
export function tellLongWaits(say: (awaited: string) => void): () => void {
  let told: Awaited | null = null
  let sayAt = 0
  const look = () => {
    const awaited = longAwaited()
    if (awaited === null) return
    const now = performance.now()
    if (awaited === told && now < sayAt) return
    told = awaited
    sayAt = now + sayAgainMs
    say(awaitedText(awaited))
  }
  const timer = setInterval(look, lookEveryMs)
  timer.unref()
  return () => clearInterval(timer)
}
