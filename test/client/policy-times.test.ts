import { describe, expect, test } from 'vitest'
import { firstRun } from '../../client/policy-times.ts'

const dayMs = 86_400_000
const now = new Date('2026-11-21T12:00:00Z')

describe('the first run of a policy', () => {
  test('is one period after the activation of the active version, at the given time of day', () => {
    const since = new Date('2026-11-01T08:00:00Z')
    const first = firstRun({ everyMs: 90 * dayMs, atMs: 3 * 3_600_000, since, now })
    expect(first.toISOString()).toBe('2027-01-31T03:00:00.000Z')
  })

  test('of an old version is the next such time, never in the past', () => {
    const since = new Date('2020-01-01T00:00:00Z')
    const first = firstRun({ everyMs: 90 * dayMs, atMs: null, since, now })
    expect(first.toISOString()).toBe('2026-11-22T03:00:00.000Z')
  })

  test('counts from now if the period is not in whole days', () => {
    const since = new Date('2020-01-01T00:00:00Z')
    const first = firstRun({ everyMs: 600_000, atMs: null, since, now })
    expect(first.toISOString()).toBe('2026-11-21T12:10:00.000Z')
  })
})
