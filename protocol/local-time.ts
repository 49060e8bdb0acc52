import { DateTime, IANAZone } from 'luxon'

/** Times of day in a time zone. Clocks there may skip a time of day (it is then the same time after the skip) or repeat it (then the first counts). */

const minuteMs = 60_000
const secondMs = 1000

/** The name as the IANA database writes it; null if there is no such zone. */
export function timeZoneNamed(text: string): string | null {
  if (!/^[a-z]/i.test(text) || !IANAZone.isValidZone(text)) return null
  return new Intl.DateTimeFormat('en', { timeZone: text }).resolvedOptions().timeZone
}

/** The instant of a time of day, in milliseconds after midnight, on the day of `instant` in the zone, or `days` later. */
export function atTimeOfDay(instant: Date, zone: string, ofDayMs: number, days = 0): Date {
  const { year, month, day } = DateTime.fromJSDate(instant, { zone }).plus({ days })
  const minutes = Math.floor(ofDayMs / minuteMs)
  const second = Math.floor((ofDayMs % minuteMs) / secondMs)
  const time = { hour: Math.floor(minutes / 60), minute: minutes % 60, second }
  const local = DateTime.fromObject(
    { year, month, day, ...time, millisecond: ofDayMs % secondMs },
    { zone },
  )
  const [first = local] = local
    .getPossibleOffsets()
    .sort((one, other) => one.toMillis() - other.toMillis())
  return first.toJSDate()
}

/** Milliseconds after midnight that the zone's clocks show. */
export function timeOfDay(instant: Date, zone: string): number {
  const { hour, minute, second, millisecond } = DateTime.fromJSDate(instant, { zone })
  return (hour * 60 + minute) * minuteMs + second * secondMs + millisecond
}

/** ISO 8601 with the zone's offset: `2027-01-31T03:00:00+01:00`. */
export function inZone(instant: Date, zone: string): string {
  return DateTime.fromJSDate(instant, { zone }).toISO({ suppressMilliseconds: true }) ?? ''
}
