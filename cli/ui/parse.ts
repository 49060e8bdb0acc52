import { parseDuration } from '../../config/duration.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import type { DailyWindow } from '../../contracts/policy.ts'

const maxVersion = 2 ** 31 - 1

/** A KEK version: 1 to 2^31−1 (`kek_versions._id` is an int32). Throws version-invalid. */
export function version(text: string): number {
  const number = wholeNumber(text)
  if (number === null || number < 1 || number > maxVersion) {
    throw new KeyturnError('version-invalid', `a version is a whole number from 1, not "${text}"`, {
      hint: 'keyturn status lists the versions that are there',
    })
  }
  return number
}

/** A count or a rate; 0 means no limit. Throws usage. */
export function limit(text: string): number {
  const number = wholeNumber(text)
  if (number === null) {
    throw new KeyturnError('usage', `a limit is a whole number from 0, not "${text}"`, {
      hint: '0 means no limit',
    })
  }
  return number
}

/** A number of things that must be at least one. Throws usage. */
export function positive(text: string): number {
  const number = wholeNumber(text)
  if (number === null || number === 0) {
    throw new KeyturnError('usage', `expected a whole number from 1, not "${text}"`)
  }
  return number
}

/** `30s`, `24h`, `90d` in milliseconds. Throws usage. */
export function duration(text: string): number {
  const milliseconds = parseDuration(text)
  if (milliseconds === null || milliseconds === 0) {
    throw new KeyturnError('usage', `a duration is written as 30s, 24h or 90d, not "${text}"`, {
      hint: /^[1-9]\d*$/.test(text)
        ? `did you mean ${text}d? units are ms, s, m, h, d and w`
        : 'a whole number and a unit: ms, s, m, h, d or w',
    })
  }
  return milliseconds
}

/** `03:00` in milliseconds after midnight. Throws usage. */
export function timeOfDay(text: string): number {
  const time = timeIn(text)
  if (time !== null) return time
  throw new KeyturnError('usage', `a time of day is written as 03:00, not "${text}"`, {
    hint: 'it is meant in the time zone of --time-zone, by default UTC',
  })
}

/** `22:00-05:00`. Throws usage. */
export function dailyWindow(text: string): DailyWindow {
  const [from = '', to = '', ...more] = text.split('-')
  const [fromMs, toMs] = [timeIn(from), timeIn(to)]
  if (fromMs === null || toMs === null || more.length > 0 || fromMs === toMs) {
    throw new KeyturnError('usage', `a window is written as 22:00-05:00, not "${text}"`, {
      hint: 'two different times of day; leave --window out for the whole day',
    })
  }
  return { fromMs, toMs }
}

function timeIn(text: string): number | null {
  const [, hours, minutes] = /^([01]?\d|2[0-3]):([0-5]\d)$/.exec(text) ?? []
  return hours === undefined ? null : (Number(hours) * 60 + Number(minutes)) * 60_000
}

/** A time with its zone, `2026-03-01T03:00:00Z`. Throws usage. */
export function moment(text: string): Date {
  const isTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d)$/.test(text)
  const at = new Date(text)
  if (isTime && !Number.isNaN(at.getTime())) return at
  throw new KeyturnError('usage', `a time is written as 2026-03-01T03:00:00Z, not "${text}"`, {
    hint: 'date, time and zone: Z, or an offset as +01:00',
  })
}

/** Up to 200 printable characters. Throws usage. */
export function backupName(text: string): string {
  if (/^[^\p{C}]{1,200}$/u.test(text) && text.trim() === text) return text
  throw new KeyturnError(
    'usage',
    `a backup's name has 1 to 200 printable characters, not "${text}"`,
  )
}

/** A key's label, to be found exactly so. Throws usage. */
export function label(text: string): string {
  if (text !== '') return text
  throw new KeyturnError('usage', 'a label must not be empty', {
    hint: 'leave --label out for <key_label_prefix>-v<n>',
  })
}

/** A CKA_ID in hex, in lower case. Throws usage. */
export function keyId(text: string): string {
  if (/^([0-9a-f]{2})+$/i.test(text)) return text.toLowerCase()
  throw new KeyturnError(
    'usage',
    `an id is written in hexadecimal digits, two a byte, not "${text}"`,
    {
      hint: 'pkcs11-tool -O shows it as "ID:", for example 0a1b',
    },
  )
}

function wholeNumber(text: string): number | null {
  return /^\d{1,15}$/.test(text) ? Number(text) : null
}

/** A time in ISO 8601, or how long ago (`36h`). Throws usage. */
export function since(text: string): Date {
  const ago = parseDuration(text)
  const at = ago === null ? new Date(text) : new Date(Date.now() - ago)
  if (/^\d{4}-|^\d+[a-z]+$/.test(text) && !Number.isNaN(at.getTime())) return at
  throw new KeyturnError(
    'usage',
    `a time is written as 2026-11-01, 2026-11-01T08:00Z or 36h, not "${text}"`,
    {
      hint: '36h means 36 hours ago',
    },
  )
}
