import { describe, expect, test } from 'vitest'
import { duration, limit, positive, timeOfDay, version } from '../../cli/ui/parse.ts'
import { RateMeter } from '../../cli/ui/rate-meter.ts'
import { table } from '../../cli/ui/tables.ts'
import { seconds } from '../../cli/ui/figures.ts'

describe('figures', () => {
  test('are parsed strictly', () => {
    expect([version('1'), limit('0'), positive('3'), duration('90d'), timeOfDay('03:30')]).toEqual([
      1, 0, 3, 7_776_000_000, 12_600_000,
    ])
    for (const bad of ['0', '-1', '1.5', '1e3', '', ' 1', '0x1', '99999999999999999999']) {
      expect(() => version(bad)).toThrow(expect.objectContaining({ code: 'version-invalid' }))
    }
    for (const bad of ['24:00', '3', '03:60']) expect(() => timeOfDay(bad)).toThrow(/time of day/)
    for (const bad of ['0s', '5', '1y']) expect(() => duration(bad)).toThrow(/duration/)
  })

  test('are formatted for reading', () => {
    expect([seconds(0.25), seconds(59.6), seconds(600), seconds(8100), seconds(864_000)]).toEqual([
      '0.3 s',
      '60 s',
      '10 min',
      '2 h 15 min',
      '10 days',
    ])
  })

  test('a rate covers the last few seconds, and starts again in each phase', () => {
    const meter = new RateMeter()
    expect(meter.rate(0, 'rewrap', 0)).toBe(0)
    expect(meter.rate(500, 'rewrap', 1000)).toBe(500)
    expect(meter.rate(500, 'rewrap', 10_000)).toBe(0)
    expect(meter.rate(500, 'settle', 10_500)).toBe(0)
  })

  test('a table has columns without lines, and numbers on the right', () => {
    expect(
      table(
        ['name', 'count'],
        [
          ['a', 1],
          ['bb', 200],
        ],
      ),
    ).toBe('name  count\na         1\nbb      200')
  })
})
