import { describe, expect, test } from 'vitest'
import { idleWalksAtMost, observeWalk, walksBegin } from '../../protocol/tail.ts'

describe('the walks of a tail', () => {
  test('go on while each has something to do, however long a writer lags', () => {
    let walk = walksBegin
    for (let dealt = 1; dealt < 500; dealt++) {
      const seen = observeWalk(walk, { dealt, remaining: 1 })
      expect(seen.stuck).toBe(false)
      walk = seen
    }
  })

  test('end after ten in a row that dealt with nothing, and begin to count anew with each that did', () => {
    let walk = observeWalk(walksBegin, { dealt: 7, remaining: 3 })
    for (let idle = 1; idle < idleWalksAtMost; idle++) {
      walk = observeWalk(walk, { dealt: 7, remaining: 3 })
      expect(walk.stuck).toBe(false)
    }
    expect(observeWalk(walk, { dealt: 7, remaining: 3 }).stuck).toBe(true)
    expect(observeWalk(walk, { dealt: 8, remaining: 3 })).toMatchObject({ idle: 0, stuck: false })
    expect(observeWalk(walk, { dealt: 7, remaining: 2 })).toMatchObject({ idle: 0, stuck: false })
  })
})
