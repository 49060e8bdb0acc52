import { describe, expect, test } from 'vitest'
import { KeyturnError } from '../../contracts/errors.ts'
import type { VersionState } from '../../contracts/kek.ts'
import { rotationRoute } from '../../protocol/rotation-route.ts'

const row = (version: number, state: VersionState, envelopes = 0) => ({ version, state, envelopes })
const codeOf = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    if (error instanceof KeyturnError) return error.code
    throw error
  }
  return 'none'
}

describe('the route of a rotation', () => {
  const versions = [row(1, 'active', 10), row(2, 'pre-active'), row(3, 'pre-active')]

  test('goes from the active version when none is named', () => {
    expect(rotationRoute({ versions, active: 1, to: 2 })).toEqual({ from: 1, to: 2, promote: true })
  })

  test('finishes a cancelled rotation without another promote', () => {
    const cancelled = [row(1, 'deactivated', 6), row(2, 'active', 4)]
    const route = { from: 1, to: 2, promote: false }
    expect(rotationRoute({ versions: cancelled, active: 2, from: 1, to: 2 })).toEqual(route)
    expect(rotationRoute({ versions: cancelled, active: 2, to: 2 })).toEqual(route)
  })

  test('goes back with the roles exchanged', () => {
    const cancelled = [row(1, 'deactivated', 6), row(2, 'active', 4)]
    const route = { from: 2, to: 1, promote: true }
    expect(rotationRoute({ versions: cancelled, active: 2, from: 2, to: 1 })).toEqual(route)
  })

  test('takes the oldest version with envelopes when B is active already', () => {
    const many = [
      row(1, 'destroyed', 0),
      row(2, 'deactivated', 0),
      row(3, 'deactivated', 2),
      row(4, 'deactivated', 9),
      row(5, 'active', 1),
    ]
    expect(rotationRoute({ versions: many, active: 5, to: 5 }).from).toBe(3)
  })

  test('can be repeated when nothing is left: the version before B has no envelopes to rotate', () => {
    const done = [row(1, 'deactivated'), row(2, 'deactivated'), row(3, 'active', 10)]
    expect(rotationRoute({ versions: done, active: 3, to: 3 }).from).toBe(2)
  })

  test.each([
    ['equal versions', { from: 2, to: 2 }, 'versions-equal'],
    ['a version that is no positive integer', { to: 0 }, 'version-invalid'],
    ['a fraction', { from: 1.5, to: 2 }, 'version-invalid'],
    ['an unknown B', { to: 9 }, 'version-unknown'],
    ['an unknown A', { from: 9, to: 2 }, 'version-unknown'],
    ['an A that is not active', { from: 3, to: 2 }, 'not-active'],
  ])('refuses %s', (_title, facts, code) => {
    expect(codeOf(() => rotationRoute({ versions, active: 1, ...facts }))).toBe(code)
  })

  test.each([
    ['installing', 'version-unknown'],
    ['destroyed', 'version-destroyed'],
    ['pending-removal', 'removal-pending'],
  ] as const)('refuses a version that is %s, on both ends', (state, code) => {
    const to = [row(1, 'active', 1), row(2, state)]
    expect(codeOf(() => rotationRoute({ versions: to, active: 1, to: 2 }))).toBe(code)
    const from = [row(1, state), row(2, 'active', 1)]
    expect(codeOf(() => rotationRoute({ versions: from, active: 2, from: 1, to: 2 }))).toBe(code)
  })

  test('refuses a database without an active version', () => {
    expect(codeOf(() => rotationRoute({ versions: [], active: null, to: 2 }))).toBe('not-installed')
  })

  test('refuses when the only version is the active one', () => {
    expect(codeOf(() => rotationRoute({ versions: [row(1, 'active', 1)], active: 1, to: 1 }))).toBe(
      'versions-equal',
    )
  })
})
