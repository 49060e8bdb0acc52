import type { Guard } from '../contracts/views.ts'
import { inSeconds } from './facts.ts'
import { guard, unused, wasUsed, type RemovalFacts } from './guard-facts.ts'

/** How far the clock of this process may be from the database's. A window is over only by both clocks. */
const clocksApartMs = 5 * 60_000

/** A backup may hold the version until the end of the settle that left it. Becoming active again restarts the window. */
export function backupWindow(facts: RemovalFacts): Guard {
  const { version, activatedAt, leftAt, backupWindowMs, now, ownNow } = facts
  if (!wasUsed(facts)) return unused('backup-window', facts)
  if (leftAt === null || (activatedAt !== null && Date.parse(leftAt) < Date.parse(activatedAt))) {
    return guard('backup-window', false, `no rotation has settled that left version ${version}`)
  }
  if (clocksDiffer(now, ownNow)) {
    const clocks = `the database's clock says ${now}, this process's ${ownNow}`
    return {
      ...guard('backup-window', false, `${clocks}: set the clocks right, then ask again`),
      code: 'clock-differs',
    }
  }
  const overAtMs = Date.parse(leftAt) + backupWindowMs
  const leftMs = overAtMs - Math.min(Date.parse(now), Date.parse(ownNow))
  if (leftMs <= 0) {
    return guard('backup-window', true, `left at ${leftAt}; the backup window is over`)
  }
  const until = new Date(overAtMs).toISOString()
  const detail = `left at ${leftAt}; the window runs until ${until}, ${inSeconds(leftMs)} more`
  return { ...guard('backup-window', false, detail), until }
}

/** Whether two clocks are too far apart to trust either. */
export function clocksDiffer(now: string, ownNow: string): boolean {
  return Math.abs(Date.parse(now) - Date.parse(ownNow)) > clocksApartMs
}
