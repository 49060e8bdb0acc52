import { describe, expect, test } from 'vitest'
import { compareHome } from '../../protocol/keystore-home.ts'
import { isOlder } from '../../protocol/newest-state.ts'

const here = { collection: 'u1', hosts: ['a:1', 'b:1', 'c:1'] }

describe('where a keystore is', () => {
  test('is the same place when nothing has changed', () => {
    expect(compareHome(here, here)).toEqual({ copied: false, update: null })
  })

  test('is another place when the collection is another one, or no host is the same', () => {
    expect(compareHome(here, { ...here, collection: 'u2' }).copied).toBe(true)
    expect(compareHome(here, { ...here, hosts: ['x:1', 'y:1'] }).copied).toBe(true)
    // One of them differs, so the other, known or not, does not matter.
    expect(compareHome(here, { collection: null, hosts: ['x:1'] }).copied).toBe(true)
    expect(compareHome(here, { collection: 'u2', hosts: null }).copied).toBe(true)
  })

  test('stays the same place while the hosts of a replica set are replaced one by one', () => {
    let home: { collection: string | null; hosts: string[] | null } = here
    for (const hosts of [
      ['d:1', 'b:1', 'c:1'],
      ['d:1', 'e:1', 'c:1'],
      ['e:1', 'd:1', 'f:1'],
    ]) {
      const { copied, update } = compareHome(home, { ...here, hosts })
      expect({ copied, hosts: update?.hosts }).toEqual({ copied: false, hosts: [...hosts].sort() })
      home = update ?? home
    }
    expect(compareHome(here, home).copied).toBe(true)
  })

  test('is not another place because of a value that cannot be read', () => {
    const unknown = { collection: null, hosts: null }
    for (const [recorded, today] of [
      [here, unknown],
      [unknown, unknown],
      [here, { collection: 'u1', hosts: [] }],
    ] as const) {
      expect(compareHome(recorded, { ...today, hosts: today.hosts && [...today.hosts] })).toEqual({
        copied: false,
        update: null,
      })
    }
  })
})

describe('a member that could not be read when it was recorded', () => {
  const unknown = { collection: null, hosts: null }

  test.each([
    [unknown, here, here],
    [{ ...here, collection: null }, here, here],
    [{ ...here, hosts: null }, here, here],
    [
      { ...here, collection: null },
      { ...here, hosts: ['b:1'] },
      { ...here, hosts: ['b:1'] },
    ],
    [{ ...here, collection: null }, { ...here, hosts: null }, here],
    [unknown, { ...here, hosts: null }, { ...here, hosts: null }],
    [
      { ...here, hosts: null },
      { collection: null, hosts: ['a:1'] },
      { ...here, hosts: ['a:1'] },
    ],
  ])('%o, read today: %o', (recorded, today, update) => {
    expect(compareHome(recorded, today)).toEqual({ copied: false, update })
  })

  test('is not recorded where the other member shows a copy', () => {
    expect(
      compareHome({ ...here, collection: null }, { collection: 'u2', hosts: ['x:1'] }),
    ).toEqual({
      copied: true,
      update: null,
    })
    expect(compareHome({ ...here, hosts: null }, { collection: 'u2', hosts: ['a:1'] })).toEqual({
      copied: true,
      update: null,
    })
  })
})

describe('an older state', () => {
  const seen = { id: 'k', restoration: null, epoch: 3, entries: 10 }

  test.each([
    ['the same', seen, false],
    ['a newer epoch', { ...seen, epoch: 4 }, false],
    ['more entries', { ...seen, entries: 11 }, false],
    ['a lower epoch', { ...seen, epoch: 2, entries: 20 }, true],
    ['a shorter chain', { ...seen, entries: 9 }, true],
    ['nothing at all', { id: null, restoration: null, epoch: 0, entries: 0 }, true],
    ['declared restored', { ...seen, restoration: 'r', epoch: 4, entries: 5 }, false],
    [
      'declared restored, but below what was seen',
      { ...seen, restoration: 'r', epoch: 3, entries: 5 },
      true,
    ],
    ['another keystore', { ...seen, id: 'l', epoch: 1, entries: 1 }, false],
  ])('%s', (_, read, older) => {
    expect(isOlder(read, seen)).toBe(older)
    expect(isOlder(read, null)).toBe(false)
  })
})
