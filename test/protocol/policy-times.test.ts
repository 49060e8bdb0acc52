import { describe, expect, test } from 'vitest'
import { atTimeOfDay, inZone, timeZoneNamed } from '../../protocol/local-time.ts'
import {
  defaultAt,
  firstRun,
  isDue,
  isSkipped,
  isWithin,
  nextPlanned,
  plannedRuns,
  windowState,
} from '../../protocol/policy-times.ts'

const hourMs = 3_600_000
const dayMs = 24 * hourMs
const now = new Date('2026-11-21T12:00:00Z')
const utc = { everyMs: 90 * dayMs, atMs: 3 * hourMs, timeZone: 'UTC' }
const berlin = { ...utc, timeZone: 'Europe/Berlin' }
const night = { fromMs: 22 * hourMs, toMs: 5 * hourMs }

test('a time zone has its name in the IANA database', () => {
  expect(timeZoneNamed('europe/berlin')).toBe('Europe/Berlin')
  expect(timeZoneNamed('UTC')).toBe('UTC')
  for (const text of ['Europe/Atlantis', '+01:00', '', 'local']) {
    expect(timeZoneNamed(text)).toBeNull()
  }
})

describe('the first run of a policy', () => {
  test('is one period after the activation of the active version, at the given time of day', () => {
    const since = new Date('2026-11-01T08:00:00Z')
    expect(firstRun(utc, { since, now }).toISOString()).toBe('2027-01-31T03:00:00.000Z')
    expect(firstRun(berlin, { since, now }).toISOString()).toBe('2027-01-31T02:00:00.000Z')
  })

  test('of an old version is the next such time, never in the past', () => {
    const since = new Date('2020-01-01T00:00:00Z')
    expect(firstRun(utc, { since, now }).toISOString()).toBe('2026-11-22T03:00:00.000Z')
  })

  test('counts from now if the period is not in whole days', () => {
    const since = new Date('2020-01-01T00:00:00Z')
    const short = { ...utc, everyMs: 600_000, atMs: null }
    expect(firstRun(short, { since, now }).toISOString()).toBe('2026-11-21T12:10:00.000Z')
  })
})

describe('the runs of a policy', () => {
  test('keep their time of day when the clocks of their zone change', () => {
    const first = new Date('2027-01-31T02:00:00Z')
    const runs = plannedRuns(berlin, first, 5).map((run) => inZone(run, 'Europe/Berlin'))
    expect(runs).toEqual([
      '2027-01-31T03:00:00+01:00',
      '2027-05-01T03:00:00+02:00',
      '2027-07-30T03:00:00+02:00',
      '2027-10-28T03:00:00+02:00',
      '2028-01-26T03:00:00+01:00',
    ])
  })

  test('at a time that the clocks skip or repeat take place once', () => {
    const daily = { everyMs: dayMs, atMs: 2.5 * hourMs, timeZone: 'Europe/Berlin' }
    const shown = (from: string) =>
      plannedRuns(daily, new Date(from), 3).map((run) => inZone(run, 'Europe/Berlin'))
    expect(shown('2027-03-27T01:30:00Z')).toEqual([
      '2027-03-27T02:30:00+01:00',
      '2027-03-28T03:30:00+02:00',
      '2027-03-29T02:30:00+02:00',
    ])
    expect(shown('2027-10-30T00:30:00Z')).toEqual([
      '2027-10-30T02:30:00+02:00',
      '2027-10-31T02:30:00+02:00',
      '2027-11-01T02:30:00+01:00',
    ])
    expect(isSkipped('Europe/Berlin', 2.5 * hourMs, now)).toBe(true)
    expect(isSkipped('Europe/Berlin', 3 * hourMs, now)).toBe(false)
    expect(isSkipped('UTC', 2.5 * hourMs, now)).toBe(false)
  })

  test('at midnight, where the clocks skip midnight', () => {
    const run = atTimeOfDay(new Date('2026-09-06T12:00:00Z'), 'America/Santiago', 0)
    expect(inZone(run, 'America/Santiago')).toBe('2026-09-06T01:00:00-03:00')
  })

  test('are due a little early, since two clocks decide, and missed ones are left out', () => {
    const next = new Date('2026-11-21T03:00:00Z')
    expect(isDue(utc, next, new Date('2026-11-21T02:58:00Z'))).toBe(true)
    expect(isDue(utc, next, new Date('2026-11-21T02:50:00Z'))).toBe(false)
    const daily = { ...utc, everyMs: dayMs }
    expect(nextPlanned(daily, new Date('2026-11-01T03:00:00Z'), now).toISOString()).toBe(
      '2026-11-22T03:00:00.000Z',
    )
  })
})

describe('a daily window', () => {
  test('is open from its begin to its end, also over midnight', () => {
    const at = (time: string) => windowState(night, 'UTC', new Date(`2026-11-21T${time}Z`))
    expect(at('21:59:59')).toEqual({ isOpen: false, until: new Date('2026-11-21T22:00:00Z') })
    expect(at('22:00:00')).toEqual({ isOpen: true, until: new Date('2026-11-22T05:00:00Z') })
    expect(at('04:59:59')).toEqual({ isOpen: true, until: new Date('2026-11-21T05:00:00Z') })
    expect(at('05:00:00')).toEqual({ isOpen: false, until: new Date('2026-11-21T22:00:00Z') })
  })

  test('is an hour shorter in the night in which the clocks go forward', () => {
    const state = windowState(night, 'Europe/Berlin', new Date('2027-03-27T22:00:00Z'))
    expect(state).toEqual({ isOpen: true, until: new Date('2027-03-28T03:00:00Z') })
    const winter = windowState(night, 'Europe/Berlin', new Date('2027-10-30T21:00:00Z'))
    expect(winter).toEqual({ isOpen: true, until: new Date('2027-10-31T04:00:00Z') })
  })

  test('contains a time and its jitter, or does not', () => {
    expect(isWithin(night, 23 * hourMs)).toBe(true)
    expect(isWithin(night, 4 * hourMs, hourMs)).toBe(true)
    expect(isWithin(night, 4 * hourMs, hourMs + 1)).toBe(false)
    expect(isWithin(night, 5 * hourMs)).toBe(false)
    expect(isWithin(night, 12 * hourMs)).toBe(false)
  })

  test('begins with the run of a policy without a time, unless 03:00 is in it', () => {
    expect(defaultAt({ everyMs: dayMs, window: null })).toBe(3 * hourMs)
    expect(defaultAt({ everyMs: dayMs, window: night })).toBe(3 * hourMs)
    const day = { fromMs: 9 * hourMs, toMs: 17 * hourMs }
    expect(defaultAt({ everyMs: dayMs, window: day })).toBe(9 * hourMs)
    expect(defaultAt({ everyMs: hourMs, window: null })).toBeNull()
  })
})
