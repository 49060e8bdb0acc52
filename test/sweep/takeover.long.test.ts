import { afterEach, describe, expect, test } from 'vitest'
import { KeyturnError } from '../../contracts/errors.ts'
import type { KekProvider } from '../../providers/provider.ts'
import { readRanges } from '../../store/rewrap-ranges.ts'
import { names, openFixture, type Fixture } from './fixture.ts'

let fixture: Fixture
afterEach(async () => fixture.close())

/** The provider with something done before each of its rewraps. */
function before(provider: KekProvider, hook: (page: number) => Promise<void> | void): KekProvider {
  let page = 0
  return new Proxy(provider, {
    get(target, name) {
      if (name !== 'rewrap') return Reflect.get(target, name) as unknown
      return async (...args: Parameters<KekProvider['rewrap']>) => {
        await hook(++page)
        return target.rewrap(...args)
      }
    },
  })
}

async function snapshot() {
  const records = await fixture.store.db.collection('records').find().sort({ _id: 1 }).toArray()
  return { records, shards: await readRanges(fixture.store, fixture.rotation) }
}

describe('a sweep that is interrupted', () => {
  test('counts every envelope once when it is aborted at random pages many times', async () => {
    fixture = await openFixture()
    await fixture.fill(names(2_000))
    const [range] = await fixture.plan()
    let attempts = 0
    let end = ''
    let rewrapped = 0
    while (end !== 'end') {
      const abort = new AbortController()
      const pages = Math.floor(Math.random() * 8)
      const provider = before(fixture.provider, (page) => {
        if (page > pages) abort.abort()
      })
      const result = await fixture.sweep(range!.range, { page: 25, provider, signal: abort.signal })
      expect(['end', 'aborted']).toContain((end = result.end))
      rewrapped += result.counters.rewrapped
      attempts++
    }
    expect(attempts).toBeGreaterThan(5)
    expect(rewrapped).toBe(2_000)
    expect(await fixture.counters()).toEqual({
      rewrapped,
      superseded: 0,
      quarantined: 0,
      hsmCalls: 6_000,
    })
    expect(await fixture.openAll()).toEqual({ 2: 2_000 })
  })

  test('writes the pages before a fault of the token, then rejects with it', async () => {
    fixture = await openFixture()
    await fixture.fill(names(500))
    const [range] = await fixture.plan()
    const away = new KeyturnError('hsm-away', 'the token is away')
    const provider = before(fixture.provider, (page) => {
      if (page === 4) throw away
    })
    await expect(fixture.sweep(range!.range, { page: 50, provider })).rejects.toBe(away)
    expect(await fixture.counters()).toMatchObject({ rewrapped: 150 })
    expect(await fixture.sweep(range!.range)).toMatchObject({
      end: 'end',
      counters: { rewrapped: 350 },
    })
    expect(await fixture.counters()).toMatchObject({ rewrapped: 500, quarantined: 0 })
  })

  test('writes nothing when the lease has run out inside the transaction', async () => {
    fixture = await openFixture()
    await fixture.fill(names(100))
    const [range] = await fixture.plan()
    const lease = {
      requireLease: () => Promise.resolve(),
      assertLease: () => {
        throw new KeyturnError('lease-expired', 'the lease has run out')
      },
      countWraps: () => undefined,
    }
    await expect(fixture.sweep(range!.range, { lease })).rejects.toMatchObject({
      code: 'lease-expired',
    })
    expect(await fixture.census()).toEqual({ 1: 100 })
    expect(await fixture.counters()).toMatchObject({ rewrapped: 0, hsmCalls: 0 })
  })

  test('wraps nothing without a lease', async () => {
    fixture = await openFixture()
    await fixture.fill(names(100))
    const [range] = await fixture.plan()
    const expired = new KeyturnError('lease-expired', 'the lease has run out')
    const lease = {
      requireLease: () => Promise.reject(expired),
      assertLease: () => undefined,
      countWraps: () => undefined,
    }
    const calls = fixture.provider.stats().calls
    await expect(fixture.sweep(range!.range, { lease })).rejects.toBe(expired)
    expect(fixture.provider.stats().calls).toBe(calls)
  })

  test('ends soon after an abort while the token does not answer, and writes nothing of that page', async () => {
    fixture = await openFixture()
    await fixture.fill(names(100))
    const [range] = await fixture.plan()
    const abort = new AbortController()
    const provider = new Proxy(fixture.provider, {
      get: (target, name) =>
        name !== 'rewrap'
          ? (Reflect.get(target, name) as unknown)
          : (_: unknown, signal: AbortSignal) =>
              new Promise((_resolve, reject) => {
                signal.addEventListener('abort', () => reject(signal.reason as Error))
                abort.abort()
              }),
    })
    const result = await fixture.sweep(range!.range, { provider, signal: abort.signal })
    expect(result).toMatchObject({ end: 'aborted', counters: { rewrapped: 0 } })
    expect(await fixture.census()).toEqual({ 1: 100 })
  })

  test.each([
    ['before', 1],
    ['after', 2],
  ])(
    'ends soon after an abort while the proof %s the wraps of a page hangs, and writes nothing of it',
    async (_, hanging) => {
      fixture = await openFixture()
      await fixture.fill(names(100))
      const [range] = await fixture.plan()
      const abort = new AbortController()
      let proofs = 0
      const lease = {
        async requireLease() {
          proofs += 1
          if (proofs < hanging) return
          abort.abort()
          await new Promise(() => undefined)
        },
        assertLease: () => undefined,
        countWraps: () => undefined,
      }
      const result = await fixture.sweep(range!.range, { lease, signal: abort.signal })
      expect(result).toMatchObject({ end: 'aborted', counters: { rewrapped: 0 } })
      expect(await fixture.census()).toEqual({ 1: 100 })
    },
  )

  test('does nothing when it was aborted before its start', async () => {
    fixture = await openFixture()
    await fixture.fill(names(10))
    const [range] = await fixture.plan()
    expect(await fixture.sweep(range!.range, { signal: AbortSignal.abort() })).toMatchObject({
      end: 'aborted',
    })
    const [doc] = await readRanges(fixture.store, fixture.rotation)
    expect(doc!.attempt).toBe(0)
  })
})

describe('two sweeps of one range', () => {
  test('the first, stopped with a wrapped page, writes nothing after the second took over', async () => {
    fixture = await openFixture()
    await fixture.fill(names(600))
    const [range] = await fixture.plan()
    let wake!: () => void
    const frozen = new Promise<void>((resolve) => (wake = resolve))
    let reached!: () => void
    const inHand = new Promise<void>((resolve) => (reached = resolve))
    const provider = before(fixture.provider, async (page) => {
      if (page !== 3) return
      reached()
      await frozen
    })
    const first = fixture.sweep(range!.range, { page: 50, provider })
    await inHand
    expect((await fixture.sweep(range!.range, { page: 50 })).end).toBe('end')
    const after = await snapshot()
    wake()
    expect((await first).end).toBe('replaced')
    expect(await snapshot()).toEqual(after)
    expect(await fixture.counters()).toMatchObject({
      rewrapped: 600,
      superseded: 0,
      quarantined: 0,
    })
  })

  test('share the work and count nothing twice', async () => {
    fixture = await openFixture()
    await fixture.fill(names(3_000))
    const [range] = await fixture.plan()
    const sweeps = []
    const reached = (pages: number) =>
      new Promise<void>((resolve) => {
        let seen = 0
        sweeps.push(
          fixture.sweep(range!.range, {
            page: 40,
            onPage: () => (++seen === pages ? resolve() : undefined),
          }),
        )
      })
    for (const pages of [3, 7, 1, 5]) await reached(pages)
    sweeps.push(fixture.sweep(range!.range, { page: 40 }))
    const ends = (await Promise.all(sweeps)).map(({ end }) => end)
    expect(ends).toEqual(['replaced', 'replaced', 'replaced', 'replaced', 'end'])
    expect(await fixture.counters()).toMatchObject({ rewrapped: 3_000, superseded: 0 })
    expect(await fixture.openAll()).toEqual({ 2: 3_000 })
  })
})
