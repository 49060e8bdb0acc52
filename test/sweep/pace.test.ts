import { describe, expect, test } from 'vitest'
import { pageAtRate, paceAt } from '../../sweep/pace.ts'

describe('pageAtRate', () => {
  test('keeps the page without a rate and holds a quarter of a second otherwise', () => {
    expect(pageAtRate(1_000, 0)).toBe(1_000)
    expect(pageAtRate(1_000, 100_000)).toBe(1_000)
    expect(pageAtRate(1_000, 400)).toBe(100)
    expect(pageAtRate(1_000, 0.5)).toBe(1)
  })
})

describe('paceAt', () => {
  test('never exceeds the rate since its start', async () => {
    const began = performance.now()
    const pace = paceAt(2_000, new AbortController().signal)
    for (let page = 1; page <= 10; page++) {
      await pace(100)
      const seconds = (performance.now() - began) / 1_000
      expect((page * 100) / seconds).toBeLessThan(2_050)
    }
    expect((performance.now() - began) / 1_000).toBeLessThan(10)
  })

  test('does not wait without a rate', async () => {
    const began = performance.now()
    const pace = paceAt(0, new AbortController().signal)
    for (let page = 0; page < 100; page++) await pace(1_000_000)
    expect(performance.now() - began).toBeLessThan(10_000)
  })

  test('ends its wait at an abort', async () => {
    const abort = new AbortController()
    const wait = paceAt(1, abort.signal)(1_000)
    abort.abort()
    await expect(wait).rejects.toMatchObject({ name: 'AbortError' })
  })
})
