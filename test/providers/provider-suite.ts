import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { KekDescriptor } from '../../contracts/kek.ts'
import type { KekProvider } from '../../providers/provider.ts'
import { flip, randomDeks, sealedItems, type Fixture } from './fixture.ts'

export interface Kind {
  name: string
  make: () => Promise<Fixture>
  /** Whether what it needs is installed. */
  there: boolean
  /** Of the largest pages; smaller where nothing is learned by a large one. */
  page: number
}

/** What every KEK provider must do, on whichever module: one suite, unchanged. */
export function aKekProvider({ make, there, page }: Kind): void {
  describe.skipIf(!there)('with two versions', () => {
    let fixture: Fixture
    let provider: KekProvider
    let v1: KekDescriptor
    let v2: KekDescriptor

    beforeAll(async () => {
      fixture = await make()
      provider = await fixture.open()
      v1 = await fixture.make(provider, 1)
      v2 = await fixture.make(provider, 2)
      await provider.load(v1)
      await provider.load(v2)
    })
    afterEach(async () => {
      await provider.load(v1)
      await provider.load(v2)
    })
    afterAll(async () => {
      await provider.close()
      await fixture.close()
    })

    test('opens what it wrapped, in order, each wrap under an IV of its own', async () => {
      const deks = randomDeks(300)
      const wraps = await provider.wrap(1, deks)
      expect(wraps.every(({ wrapped }) => wrapped.length === 48)).toBe(true)
      expect(new Set(wraps.map(({ iv }) => iv.toString('hex'))).size).toBe(300)
      const opened = await provider.unwrap(
        1,
        wraps.map((wrap, index) => ({ ...wrap, aad: deks[index]!.aad })),
      )
      expect(opened).toEqual(deks.map(({ dek }) => dek))
    })

    test('returns nothing for an empty batch', async () => {
      expect(await provider.wrap(1, [])).toEqual([])
      expect(await provider.unwrap(1, [])).toEqual([])
      const answer = await provider.rewrap({ from: 1, to: 2, check: 'all', items: [] })
      expect(answer).toEqual({ outcomes: [], calls: 0 })
    })

    test.each(['all', 'sampled', 'none'] as const)(
      'rewraps a page so that the same DEKs open under the new version (check %s)',
      async (check) => {
        const deks = randomDeks(page)
        const items = await sealedItems(provider, 1, deks)
        const { outcomes, calls } = await provider.rewrap({ from: 1, to: 2, check, items })
        const sealed = outcomes.map((outcome, index) => {
          if (!outcome.ok) throw new Error(outcome.message)
          return { iv: outcome.iv, wrapped: outcome.wrapped, aad: items[index]!.aadTo }
        })
        expect(await provider.unwrap(2, sealed)).toEqual(deks.map(({ dek }) => dek))
        const perItem = { all: 3, sampled: 2 + 1 / 16, none: 2 }[check]
        expect(calls).toBeGreaterThanOrEqual(Math.floor(page * perItem))
        // At most one more check in each lane; calls that load keys into lanes are not counted for the page.
        expect(calls).toBeLessThanOrEqual(
          Math.ceil(page * perItem) + (check === 'sampled' ? 16 : 0),
        )
      },
    )

    test('reports exactly the items that do not open: tag, ciphertext, IV, AAD, sizes', async () => {
      const deks = randomDeks(40)
      const items = await sealedItems(provider, 1, deks)
      const broken = new Map([
        [3, { wrapped: flip(items[3]!.wrapped, 47) }],
        [8, { wrapped: flip(items[8]!.wrapped, 0) }],
        [13, { iv: flip(items[13]!.iv) }],
        [21, { aadFrom: randomBytes(32) }],
        [22, { wrapped: items[22]!.wrapped.subarray(0, 47) }],
        [30, { iv: Buffer.alloc(0) }],
        [31, { iv: Buffer.alloc(17) }],
        [39, { iv: randomBytes(16) }],
      ])
      const mixed = items.map((item, index) => ({ ...item, ...broken.get(index) }))
      const { outcomes } = await provider.rewrap({ from: 1, to: 2, check: 'all', items: mixed })
      const refused = outcomes.flatMap((outcome, index) => (outcome.ok ? [] : [index]))
      expect(refused).toEqual([...broken.keys()])
      expect(outcomes.filter((outcome) => !outcome.ok)).toEqual(
        [...broken.keys()].map((): unknown =>
          expect.objectContaining({ code: 'envelope-unreadable' }),
        ),
      )
      const opened = await provider.unwrap(
        1,
        mixed.map(({ iv, wrapped, aadFrom }) => ({ iv, wrapped, aad: aadFrom })),
      )
      opened.forEach((dek, index) => {
        if (broken.has(index)) expect(dek).toMatchObject({ code: 'envelope-unreadable' })
        else expect(dek).toEqual(deks[index]!.dek)
      })
      expect(provider.loaded()).toEqual([1, 2])
    })

    test('does not open under one version what was wrapped under another', async () => {
      const [item] = await sealedItems(provider, 2, randomDeks(1))
      const opened = await provider.unwrap(1, [{ ...item!, aad: item!.aadFrom }])
      expect(opened).toEqual([expect.objectContaining({ code: 'envelope-unreadable' })])
    })

    test('refuses a version that is not loaded', async () => {
      await provider.unload(2)
      expect(provider.loaded()).toEqual([1])
      const batch = { from: 1, to: 2, check: 'all' as const, items: [] }
      await expect(provider.rewrap(batch)).rejects.toMatchObject({ code: 'kek-not-loaded' })
      await expect(provider.wrap(7, [])).rejects.toMatchObject({ code: 'kek-not-loaded' })
      await expect(provider.prove(2)).rejects.toMatchObject({ code: 'kek-not-loaded' })
    })

    test('proves a version repeatedly', async () => {
      await provider.prove(1)
      await provider.prove(1)
      expect(provider.loaded()).toEqual([1, 2])
    })

    test('detects another key under the same label by the canary', async () => {
      const elsewhere = await fixture.openElsewhere()
      try {
        // By label alone, as for a registered key: the token's own id would give it away at once.
        const copied = { ...v1, keyId: null }
        await expect(elsewhere.load(copied)).rejects.toMatchObject({ code: 'wrong-key' })
        expect(elsewhere.loaded()).toEqual([])
      } finally {
        await elsewhere.close()
      }
    })

    test('fails the whole batch when the canary does not open either', async () => {
      const canary = { ...v1.canary, dekWrapped: flip(Buffer.from(v1.canary.dekWrapped)) }
      await expect(provider.load({ ...v1, canary })).rejects.toMatchObject({ code: 'wrong-key' })
      expect(provider.loaded()).toEqual([2])
    })

    test('two providers use one set of keys', async () => {
      const other = await fixture.open()
      try {
        await other.load(v1)
        const deks = randomDeks(5)
        const wraps = await provider.wrap(1, deks)
        const sealed = wraps.map((wrap, index) => ({ ...wrap, aad: deks[index]!.aad }))
        expect(await other.unwrap(1, sealed)).toEqual(deks.map(({ dek }) => dek))
      } finally {
        await other.close()
      }
    })

    test('stops for an AbortSignal with its reason', async () => {
      const items = await sealedItems(provider, 1, randomDeks(2 * page))
      const aborter = new AbortController()
      const running = provider.rewrap({ from: 1, to: 2, check: 'all', items }, aborter.signal)
      const reason = new Error('enough')
      aborter.abort(reason)
      await expect(running).rejects.toBe(reason)
      const batch = { from: 1, to: 2, check: 'all' as const, items: items.slice(0, 3) }
      await expect(provider.rewrap(batch, aborter.signal)).rejects.toBe(reason)
      expect((await provider.rewrap(batch)).outcomes.every(({ ok }) => ok)).toBe(true)
    })

    test('counts its calls', async () => {
      const before = provider.stats().calls
      await provider.wrap(1, randomDeks(10))
      expect(provider.stats().calls).toBeGreaterThanOrEqual(before + 10)
    })

    test('does not block the event loop during a page', async () => {
      const items = await sealedItems(provider, 1, randomDeks(5 * page))
      let turns = 0
      let turn = setImmediate(function next() {
        turns += 1
        turn = setImmediate(next)
      })
      await provider.rewrap({ from: 1, to: 2, check: 'all', items })
      clearImmediate(turn)
      expect(turns).toBeGreaterThan(3)
    })

    test('rejects every method with pool-closed once it is closed', async () => {
      const other = await fixture.open()
      await other.load(v1)
      const { ceremony } = other
      await other.close()
      await other.close()
      const closed = { code: 'pool-closed' }
      await expect(other.load(v1)).rejects.toMatchObject(closed)
      await expect(other.prove(1)).rejects.toMatchObject(closed)
      await expect(other.unload(1)).rejects.toMatchObject(closed)
      await expect(other.wrap(1, randomDeks(1))).rejects.toMatchObject(closed)
      await expect(other.unwrap(1, [])).rejects.toMatchObject(closed)
      const batch = { from: 1, to: 1, check: 'none' as const, items: [] }
      await expect(other.rewrap(batch)).rejects.toMatchObject(closed)
      await expect(ceremony.find(v1.label, null)).rejects.toMatchObject(closed)
      await expect(ceremony.probe()).rejects.toMatchObject(closed)
      await expect(ceremony.gcmProfile()).rejects.toMatchObject(closed)
      await expect(ceremony.makeCanary(1, v1.label, null, v1.gcm)).rejects.toMatchObject(closed)
      expect(other.loaded()).toEqual([])
    })
  })
}
