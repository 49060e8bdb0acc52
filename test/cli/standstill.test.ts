import { expect, test } from 'vitest'
import { Standstill } from '../../cli/ui/rate-meter.ts'

const at = (seconds: number) => new Date(Date.UTC(2026, 0, 1) + seconds * 1000)

test('after a minute without progress, the follower shows since when', () => {
  const still = new Standstill()
  expect(still.since('rewrap 10', at(0))).toBeNull()
  expect(still.since('rewrap 10', at(59))).toBeNull()
  expect(still.since('rewrap 10', at(61))).toEqual(at(0))
  expect(still.since('rewrap 11', at(62))).toBeNull()
  expect(still.since('settle 11', at(122))).toBeNull()
  expect(still.since('settle 11', at(183))).toEqual(at(122))
})
