import fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatDuration, parseDuration } from '../../config/duration.ts'

test.each([
  ['500ms', 500],
  ['0s', 0],
  ['30s', 30_000],
  ['5m', 300_000],
  ['24h', 86_400_000],
  ['90d', 7_776_000_000],
  ['2w', 1_209_600_000],
])('parseDuration reads %s as %d milliseconds', (text, milliseconds) => {
  expect(parseDuration(text)).toBe(milliseconds)
})

test.each([
  '',
  '30',
  's',
  '30 s',
  '-1s',
  '1.5h',
  '1h30m',
  '30S',
  '3y',
  '1e3s',
  ' 1s',
  '9007199254740993s',
])('parseDuration refuses %j', (text) => {
  expect(parseDuration(text)).toBeNull()
})

test('parseDuration reads what formatDuration writes', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.nat(),
        fc.maxSafeNat(),
        fc.nat({ max: 999 }).map((n) => n * 60_000),
      ),
      (n) => {
        expect(parseDuration(formatDuration(n))).toBe(n)
      },
    ),
  )
  expect([0, 90_000, 86_400_000, 1500].map(formatDuration)).toEqual(['0s', '90s', '1d', '1500ms'])
})
