import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { leaseState } from '../../protocol/lease.ts'

const sent = { monotonicMs: 1000, bootMs: 5000, wallMs: 1_700_000_000_000 }
const later = (monotonicMs: number, bootMs = monotonicMs, wallMs = bootMs) => ({
  monotonicMs: sent.monotonicMs + monotonicMs,
  bootMs: sent.bootMs + bootMs,
  wallMs: sent.wallMs + wallMs,
})

describe('the lease', () => {
  test.each([
    ['a process that never beat has none', null, later(0), 'none'],
    ['it is young before its end', sent, later(89_999), 'young'],
    ['it ends at its length', sent, later(90_000), 'expired'],
    ['a suspended machine is seen by the boot-time clock', sent, later(2000, 90_000), 'expired'],
    ['a wall clock set back takes it', sent, later(5000, 5000, 3000), 'clock-jumped'],
    ['a correction of the wall clock does not', sent, later(5000, 5000, 4500), 'young'],
    ['a wall clock far ahead takes it', sent, later(5000, 5000, 90_000), 'clock-jumped'],
    ['clocks of another boot take it', sent, later(-10, -10, 0), 'clock-jumped'],
  ])('%s', (_title, from, now, state) => {
    expect(leaseState(from, now, 90_000)).toBe(state)
  })

  test('never lets a process wrap once any of the three clocks counts a whole lease', () => {
    const ms = fc.integer({ min: -1000, max: 200_000 })
    fc.assert(
      fc.property(ms, ms, ms, (monotonic, boot, wall) => {
        if (leaseState(sent, later(monotonic, boot, wall), 90_000) === 'young') {
          expect(Math.max(monotonic, boot, wall)).toBeLessThan(90_000)
        }
      }),
    )
  })
})
