import { afterEach, describe, expect, test } from 'vitest'
import {
  Binary,
  Decimal128,
  Double,
  Int32,
  Long,
  MaxKey,
  MinKey,
  ObjectId,
  Timestamp,
  UUID,
} from 'mongodb'
import { readRanges } from '../../store/rewrap-ranges.ts'
import {
  names,
  openFixture,
  type Fixture,
  type SealedEnvelope,
  type SealedRecord,
} from './fixture.ts'

let fixture: Fixture
afterEach(async () => fixture.close())

describe('rewrapPages', () => {
  test('rewraps every envelope of its ranges and counts each once', async () => {
    fixture = await openFixture()
    await fixture.fill(names(2_345))
    const ranges = await fixture.plan(3)
    expect(ranges).toHaveLength(3)
    const results = await Promise.all(ranges.map(({ range }) => fixture.sweep(range)))
    expect(results.map(({ end }) => end)).toEqual(['end', 'end', 'end'])
    expect(results.reduce((sum, { counters }) => sum + counters.rewrapped, 0)).toBe(2_345)
    const counters = { rewrapped: 2_345, superseded: 0, quarantined: 0, hsmCalls: 3 * 2_345 }
    expect(await fixture.counters()).toEqual(counters)
    expect(await fixture.openAll()).toEqual({ 2: 2_345 })
    expect(fixture.wraps.get(2)).toBe(2_345)
  })

  test('never writes the data and its IV', async () => {
    fixture = await openFixture()
    const before = await fixture.fill(names(50))
    const [range] = await fixture.plan()
    await fixture.sweep(range!.range)
    const records = fixture.store.db.collection<SealedRecord>('records')
    for (const { _id, secret } of before) {
      const after = await records.findOne({ _id })
      expect(dataOf(after!.secret)).toEqual(dataOf(secret))
      expect(Object.keys(after!.secret)).toEqual(Object.keys(secret))
    }
  })

  test('closes a finished range, and a further attempt has nothing to do', async () => {
    fixture = await openFixture()
    await fixture.fill(names(10))
    const [range] = await fixture.plan()
    await fixture.sweep(range!.range)
    const [doc] = await readRanges(fixture.store, fixture.rotation)
    expect(doc).toMatchObject({ closed: true, attempt: 1 })
    expect(await fixture.sweep(range!.range)).toMatchObject({
      end: 'end',
      counters: { rewrapped: 0 },
    })
  })

  test('an empty collection gets no range, and a range that became empty is finished', async () => {
    fixture = await openFixture()
    expect(await fixture.plan()).toEqual([])
    await fixture.fill(names(10))
    const [range] = await fixture.plan()
    await fixture.store.db.collection('records').deleteMany({})
    expect(await fixture.sweep(range!.range)).toEqual({
      end: 'end',
      counters: { rewrapped: 0, superseded: 0, quarantined: 0, hsmCalls: 0 },
    })
    const [doc] = await readRanges(fixture.store, fixture.rotation)
    expect(doc!.closed).toBe(true)
  })

  test('works with pages of one envelope, and with a page exactly as large as the range', async () => {
    fixture = await openFixture()
    await fixture.fill(names(14))
    const [one, two] = await fixture.plan(2)
    await fixture.sweep(one!.range, { page: 1 })
    await fixture.sweep(two!.range, { page: 7 })
    expect(await fixture.counters()).toMatchObject({ rewrapped: 14, superseded: 0 })
    expect(await fixture.openAll()).toEqual({ 2: 14 })
  })

  test('re-wraps ids of every type once, in any number of ranges', async () => {
    fixture = await openFixture()
    const ids = idsOfAllTypes()
    await fixture.fill(ids)
    const ranges = await fixture.plan(5)
    for (const { range } of ranges) await fixture.sweep(range, { page: 3 })
    expect(await fixture.counters()).toMatchObject({ rewrapped: ids.length, superseded: 0 })
    expect(await fixture.openAll()).toEqual({ 2: ids.length })
  })

  test('a sampled check makes fewer calls, and no check makes the fewest', async () => {
    fixture = await openFixture()
    await fixture.fill(names(320))
    const [one, two] = await fixture.plan(2)
    const sampled = await fixture.sweep(one!.range, { check: 'sampled', page: 160 })
    const none = await fixture.sweep(two!.range, { check: 'none', page: 160 })
    expect(sampled.counters.hsmCalls).toBe(160 * 2 + 10)
    expect(none.counters.hsmCalls).toBe(160 * 2)
    expect(await fixture.openAll()).toEqual({ 2: 320 })
  })

  test('continues from the cursor of a sweep that its deadline ended', async () => {
    fixture = await openFixture()
    await fixture.fill(names(1_000))
    const [range] = await fixture.plan()
    let sweeps = 0
    let end = ''
    while (end !== 'end') {
      const result = await fixture.sweep(range!.range, {
        page: 10,
        deadline: performance.now() + 30,
      })
      expect(['end', 'deadline']).toContain((end = result.end))
      sweeps++
    }
    expect(sweeps).toBeGreaterThan(1)
    expect(await fixture.counters()).toMatchObject({ rewrapped: 1_000, superseded: 0 })
  })

  test('ends all its sessions', async () => {
    fixture = await openFixture()
    await fixture.fill(names(500))
    const [range] = await fixture.plan()
    await fixture.sweep(range!.range, { page: 20, deadline: performance.now() + 50 })
    await fixture.sweep(range!.range, { page: 20 })
    const sessions = (fixture.store.client as unknown as { s: { activeSessions: Set<unknown> } }).s
    expect(sessions.activeSessions.size).toBe(0)
  })
})

function dataOf({ iv, ciphertext }: SealedEnvelope): string[] {
  return [iv.toString('hex'), ciphertext.toString('hex')]
}

function idsOfAllTypes(): unknown[] {
  return [
    '',
    'a',
    'zz',
    'ünïcode',
    new ObjectId(),
    new ObjectId('000000000000000000000001'),
    new Int32(-5),
    new Int32(0),
    new Int32(77),
    new Double(1.5),
    new Double(8),
    new Double(1e300),
    Long.fromString('9007199254740993'),
    Long.fromString('-9223372036854775808'),
    new Double(Infinity),
    new Double(-Infinity),
    new Double(NaN),
    new UUID(),
    new Binary(Buffer.from('abc')),
    new Binary(Buffer.from('legacy'), 2),
    new Binary(Buffer.alloc(16, 7), 3),
    new Date(0),
    new Date(-1),
    new Date('2026-11-21T10:00:00.123Z'),
    true,
    false,
    null,
    Decimal128.fromString('1.10'),
    Decimal128.fromString('3'),
    Timestamp.fromBits(1, 2),
    new MinKey(),
    new MaxKey(),
    new Map<string, unknown>([
      ['b', new Int32(1)],
      ['2', new Double(2)],
      ['1', Long.fromNumber(1)],
    ]),
    new Map<string, unknown>([
      ['tenant', 'x'],
      ['key', new Map([['n', new Int32(3)]])],
    ]),
    new Map(),
  ]
}
