import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isLoadable, versionState } from '../../protocol/version-state.ts'

describe('the state of a version', () => {
  const canary = {}
  const when = '2025-01-01T00:00:00.000Z'
  test.each([
    ['a row without a canary is an intent', { _id: 1, canary: null }, null, 'installing'],
    ['a row that was never active is pre-active', { _id: 2, canary }, 1, 'pre-active'],
    [
      'the row that kek_active names is active',
      { _id: 2, canary, activated_at: when },
      2,
      'active',
    ],
    ['one that was left is deactivated', { _id: 1, canary, activated_at: when }, 2, 'deactivated'],
    ['a requested removal shows', { _id: 1, canary, removal: {} }, 2, 'pending-removal'],
    ['nothing comes after destroyed', { _id: 1, removal: {}, destroyed_at: when }, 1, 'destroyed'],
  ])('%s', (_title, row, active, state) => {
    expect(versionState(row, active)).toBe(state)
  })

  test('a version that is destroyed or pending removal is never loaded, whatever else its row says', () => {
    const maybe = fc.option(fc.constant(when), { nil: null })
    fc.assert(
      fc.property(
        fc.record({ canary: maybe, activated_at: maybe, removal: maybe, destroyed_at: maybe }),
        fc.boolean(),
        (row, isActive) => {
          const state = versionState({ _id: 1, ...row }, isActive ? 1 : 2)
          if (row.removal !== null || row.destroyed_at !== null || row.canary === null) {
            expect(isLoadable(state)).toBe(false)
          }
        },
      ),
    )
  })
})
