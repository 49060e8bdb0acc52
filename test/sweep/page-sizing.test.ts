import { describe, expect, test } from 'vitest'
import { pageSizing } from '../../sweep/page-sizing.ts'

describe('the size of a page', () => {
  test('is halved while pages are slow, and comes back when they are quick', () => {
    const tempo = pageSizing(1_000, 'rotation')
    expect(tempo.page()).toBe(1_000)
    tempo.took(1_000, 3_200)
    expect(tempo.page()).toBe(500)
    for (let slow = 0; slow < 20; slow++) tempo.took(tempo.page(), 5_000)
    expect(tempo.page()).toBe(20)
    tempo.took(20, 1_600)
    expect(tempo.page()).toBe(20)
    for (let quick = 0; quick < 20; quick++) tempo.took(tempo.page(), 50)
    expect(tempo.page()).toBe(1_000)
  })

  test('never grows beyond a small configured one, and a short last page says nothing', () => {
    const tempo = pageSizing(7, 'rotation')
    tempo.took(7, 9_000)
    expect(tempo.page()).toBe(7)
    const other = pageSizing(1_000, 'rotation')
    other.took(1_000, 4_000)
    other.took(3, 5)
    expect(other.page()).toBe(500)
  })
})

describe('the rest behind a page', () => {
  test('is none for the rotation, however slow its pages are', () => {
    const tempo = pageSizing(1_000, 'rotation')
    tempo.took(1_000, 100)
    tempo.took(1_000, 900)
    expect(tempo.restMs()).toBe(0)
  })

  test('is a page for the applications, and three while pages take longer than the fastest', () => {
    const tempo = pageSizing(1_000, 'applications')
    expect(tempo.page()).toBe(250)
    tempo.took(250, 40)
    expect(tempo.restMs()).toBe(40)
    tempo.took(250, 100)
    expect(tempo.restMs()).toBe(300)
    tempo.took(250, 44)
    expect(tempo.restMs()).toBe(44)
    tempo.took(250, 60_000)
    expect(tempo.restMs()).toBe(5_000)
  })
})
