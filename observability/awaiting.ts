/**
 * The calls to MongoDB or Temporal that have no answer yet. Progress displays, heartbeats of activities and logs read them, so
 * that a long wait is always visible.
 */

export interface Awaited {
  /** The end of the sentence "waits for …". */
  what: string
  /** When the call began. */
  since: Date
}

/** A call that takes longer is reported, in milliseconds. */
const usualMs = 2_500

const pending = new Set<Awaited>()

/** Registers `call` as pending while it runs. */
export async function awaiting<T>(what: string, call: () => Promise<T>): Promise<T> {
  const entry = { what, since: new Date() }
  pending.add(entry)
  try {
    return await call()
  } finally {
    pending.delete(entry)
  }
}

/** The oldest pending call that takes longer than usual; null when there is none. */
export function longAwaited(now = Date.now()): Awaited | null {
  for (const entry of pending) if (isLong(entry, now)) return entry
  return null
}

/** Whether a call takes longer than usual. */
export function isLong({ since }: Awaited, now = Date.now()): boolean {
  return now - since.getTime() >= usualMs
}

/** `mongodb: an update of kek_versions, for 4 s`. */
export function awaitedText({ what, since }: Awaited, now = Date.now()): string {
  return `${what}, for ${Math.round((now - since.getTime()) / 1000)} s`
}

/** The pause between two reports of the same wait, in milliseconds. */
const reportAgainMs = 10_000
const lookEveryMs = 500

/**
 * Calls `report` as soon as a call takes longer than usual, and every ten seconds from then on. Returns the function that ends
 * it. It does not keep the process alive.
 */
export function reportLongWaits(report: (awaited: string) => void): () => void {
  let reported: Awaited | null = null
  let reportAt = 0
  const look = () => {
    const awaited = longAwaited()
    if (awaited === null) return
    const now = performance.now()
    if (awaited === reported && now < reportAt) return
    reported = awaited
    reportAt = now + reportAgainMs
    report(awaitedText(awaited))
  }
  const timer = setInterval(look, lookEveryMs)
  timer.unref()
  return () => clearInterval(timer)
}
