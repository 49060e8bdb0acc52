import { describe, expect, test } from 'vitest'
import { idleWalksAtMost, observeWalk, vainWalksAtMost, walksBegin } from '../../protocol/tail.ts'

describe('the passes of a tail', () => {
  test('continue while fewer envelopes remain, however long a writer lags', () => {
    let walk = walksBegin
    for (let dealt = 1; dealt < 500; dealt++) {
      const { stuck, ...seen } = observeWalk(walk, { dealt, remaining: 500 - dealt })
      expect(stuck).toBeNull()
      walk = seen
    }
  })

  test('end after a hundred passes whose envelopes were written back each time', () => {
    let walk = observeWalk(walksBegin, { dealt: 3, remaining: 3 })
    for (let walks = 1; walks < vainWalksAtMost; walks++) {
      // The number differs each time.
      walk = observeWalk(walk, { dealt: 3 + walks, remaining: 3 + (walks % 2) })
      expect(walk.stuck).toBeNull()
    }
    expect(observeWalk(walk, { dealt: 900, remaining: 4 }).stuck).toBe('vain')
    expect(observeWalk(walk, { dealt: 900, remaining: 2 })).toMatchObject({ vain: 0, stuck: null })
  })

  test('end after ten in a row that processed nothing, and each that did restarts the count', () => {
    let walk = observeWalk(walksBegin, { dealt: 7, remaining: 3 })
    for (let idle = 1; idle < idleWalksAtMost; idle++) {
      walk = observeWalk(walk, { dealt: 7, remaining: 3 })
      expect(walk.stuck).toBeNull()
    }
    expect(observeWalk(walk, { dealt: 7, remaining: 3 }).stuck).toBe('idle')
    expect(observeWalk(walk, { dealt: 8, remaining: 3 })).toMatchObject({ idle: 0, stuck: null })
    expect(observeWalk(walk, { dealt: 7, remaining: 2 })).toMatchObject({ idle: 0, stuck: null })
  })
})
