import { describe, expect, test } from 'vitest'
import { pageSizing } from '../../sweep/page-sizing.ts'

describe('the size of a page', () => {
  test('is halved while pages are slow, and grows back when they are quick', () => {
    const sizing = pageSizing(1_000, 'rotation')
    expect(sizing.page()).toBe(1_000)
    sizing.took(1_000, 3_200)
    expect(sizing.page()).toBe(500)
    for (let slow = 0; slow < 20; slow++) sizing.took(sizing.page(), 5_000)
    expect(sizing.page()).toBe(20)
    sizing.took(20, 1_600)
    expect(sizing.page()).toBe(20)
    for (let quick = 0; quick < 20; quick++) sizing.took(sizing.page(), 50)
    expect(sizing.page()).toBe(1_000)
  })

  test('never exceeds a small configured size, and ignores a short last page', () => {
    const sizing = pageSizing(7, 'rotation')
    sizing.took(7, 9_000)
    expect(sizing.page()).toBe(7)
    const other = pageSizing(1_000, 'rotation')
    other.took(1_000, 4_000)
    other.took(3, 5)
    expect(other.page()).toBe(500)
  })
})

describe('the rest after a page', () => {
  test('is zero with priority for the rotation, even when pages are slow', () => {
    const sizing = pageSizing(1_000, 'rotation')
    sizing.took(1_000, 100)
    sizing.took(1_000, 900)
    expect(sizing.restMs()).toBe(0)
  })

  test('is as long as the page with priority for applications, and three times as long while pages are slow', () => {
    const sizing = pageSizing(1_000, 'applications')
    expect(sizing.page()).toBe(250)
    sizing.took(250, 40)
    expect(sizing.restMs()).toBe(40)
    sizing.took(250, 100)
    expect(sizing.restMs()).toBe(300)
    sizing.took(250, 44)
    expect(sizing.restMs()).toBe(44)
    sizing.took(250, 60_000)
    expect(sizing.restMs()).toBe(5_000)
  })
})
