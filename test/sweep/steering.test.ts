import { afterEach, describe, expect, test } from 'vitest'
import { MongoClient } from 'mongodb'
import { inject } from 'vitest'
import { readRotation } from '../../store/rotations.ts'
import { names, openFixture, type Fixture } from './fixture.ts'

let fixture: Fixture
afterEach(async () => fixture.close())

describe('a rate', () => {
  test('is never exceeded by two ranges together', async () => {
    fixture = await openFixture()
    await fixture.fill(names(2_000))
    const ranges = await fixture.plan(2)
    const began = performance.now()
    const deadline = began + 4_000
    const sweeps = ranges.map(({ range }) =>
      fixture.sweep(range, { page: 1_000, ratePerSecond: 100, deadline }),
    )
    await Promise.all(sweeps)
    const { rewrapped } = await fixture.counters()
    const rate = rewrapped / ((performance.now() - began) / 1_000)
    // The bench measures how exact it is (`rate`): a busy machine may be slower, never faster.
    expect(rewrapped).toBeGreaterThan(0)
    expect(rate).toBeLessThan(220)
  })

  test('of one envelope in half a minute does not delay an abort', async () => {
    fixture = await openFixture()
    await fixture.fill(names(10))
    const [range] = await fixture.plan()
    const abort = new AbortController()
    const sweep = fixture.sweep(range!.range, { ratePerSecond: 1 / 30, signal: abort.signal })
    const began = performance.now()
    setImmediate(() => abort.abort())
    expect((await sweep).end).toBe('aborted')
    expect(performance.now() - began).toBeLessThan(25_000)
  })
})

describe('a budget of crypt calls', () => {
  test('is used up to a few calls and never exceeded by ranges that share it', async () => {
    fixture = await openFixture({ maxHsmCalls: 1_000 })
    await fixture.fill(names(900))
    const ranges = await fixture.plan(3)
    const calls = fixture.provider.stats().calls
    const sweeps = ranges.map(({ range }) => fixture.sweep(range, { maxHsmCalls: 1_000 }))
    const ends = (await Promise.all(sweeps)).map(({ end }) => end)
    expect(ends).toContain('hsm-budget')
    const made = fixture.provider.stats().calls - calls
    expect(made).toBeLessThanOrEqual(1_000)
    expect(made).toBeGreaterThan(980)
    const { rewrapped, hsmCalls } = await fixture.counters()
    expect(hsmCalls).toBe(made)
    expect(rewrapped).toBe(made / 3)
    expect(await fixture.census()).toEqual({ 1: 900 - rewrapped, 2: rewrapped })
    const rotation = await readRotation(fixture.store, fixture.rotation)
    expect(rotation!.hsm_reserved).toBeLessThanOrEqual(1_000)
  })
})

describe('a budget of crypt calls of workers that die', () => {
  test('is never exceeded: calls for pages that were never written stay spent', async () => {
    fixture = await openFixture({ maxHsmCalls: 1_000 })
    await fixture.fill(names(900))
    const [range] = await fixture.plan(1)
    const before = fixture.provider.stats().calls
    // Its calls are made, then it is as if the process were gone: nothing is answered, nothing is given back.
    const dying = new Proxy(fixture.provider, {
      get: (target, name) =>
        name !== 'rewrap'
          ? (Reflect.get(target, name) as unknown)
          : async (...args: Parameters<typeof target.rewrap>) => {
              await target.rewrap(...args)
              throw new Error('killed')
            },
    })
    for (let death = 0; death < 2; death++) {
      const sweep = fixture.sweep(range!.range, { provider: dying, maxHsmCalls: 1_000 })
      await expect(sweep).rejects.toThrow('killed')
    }
    const { end } = await fixture.sweep(range!.range, { maxHsmCalls: 1_000 })
    expect(end).toBe('hsm-budget')
    const made = fixture.provider.stats().calls - before
    expect(made).toBeLessThanOrEqual(1_000)
    const { rewrapped, hsmCalls } = await fixture.counters()
    expect({ rewrapped, hsmCalls }).toEqual({ rewrapped: hsmCalls / 3, hsmCalls: made - 2 * 300 })
    expect(hsmCalls).toBeGreaterThan(380)
  })
})

describe('memory', () => {
  test('holds at most three pages in flight, however slow the token is', async () => {
    fixture = await openFixture()
    await fixture.fill(names(400))
    const [range] = await fixture.plan()
    const client = new MongoClient(inject('mongoUri'), { monitorCommands: true })
    const db = client.db(fixture.store.db.databaseName)
    let read = 0
    let written = 0
    let most = 0
    client.on('commandStarted', ({ command }) => {
      if (command['find'] === 'records') most = Math.max(most, ++read - written)
    })
    const provider = new Proxy(fixture.provider, {
      get: (target, name) =>
        name !== 'rewrap'
          ? (Reflect.get(target, name) as unknown)
          : async (...args: Parameters<typeof target.rewrap>) => {
              await new Promise((resolve) => setTimeout(resolve, 15))
              return target.rewrap(...args)
            },
    })
    try {
      const store = { ...fixture.store, client, db }
      await fixture.sweep(range!.range, { store, provider, page: 10, onPage: () => written++ })
    } finally {
      await client.close()
    }
    expect(written).toBe(40)
    expect(most).toBe(3)
  })
})
