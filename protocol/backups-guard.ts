import type { Guard } from '../contracts/views.ts'
import { isNeededBy } from './backup-needs.ts'
import { guard, type RemovalFacts } from './guard-facts.ts'

/** No backup that is kept needs the version. A backup is kept until both clocks have passed its end. */
export function backups(facts: RemovalFacts): Guard {
  const { version, now, ownNow, life } = facts
  const sureMs = Math.min(Date.parse(now), Date.parse(ownNow))
  const kept = facts.backups.filter(({ keepUntil }) => {
    return keepUntil === null || Date.parse(keepUntil) > sureMs
  })
  const needing = kept.filter(({ takenAt }) => isNeededBy(takenAt, life))
  if (needing.length === 0) {
    return guard('backups', true, `none of ${kept.length} kept backups needs version ${version}`)
  }
  const shown = needing.slice(0, 5).map(({ name, takenAt, keepUntil }) => {
    return `"${name}" of ${takenAt}, ${keepUntil === null ? 'kept until it is dropped' : `kept until ${keepUntil}`}`
  })
  const more = needing.length > 5 ? `; ${needing.length - 5} more` : ''
  const failed = guard('backups', false, `${shown.join('; ')}${more}: keyturn backup list`)
  const ends = needing.map(({ keepUntil }) => keepUntil)
  const until = ends.includes(null) ? undefined : ends.sort().at(-1)
  return until == null ? failed : { ...failed, until }
}
