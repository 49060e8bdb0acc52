import { randomBytes } from 'node:crypto'
import { afterEach, describe, expect, inject, test } from 'vitest'
import { Binary, BSON, type CreateCollectionOptions } from 'mongodb'
import { byteSlices } from '../../store/byte-slices.ts'
import { createIndexes } from '../../store/indexes.ts'
import { openStore } from '../../store/store.ts'
import { collection, names, openFixture, type Fixture, type SealedRecord } from './fixture.ts'

let fixture: Fixture
afterEach(async () => fixture.close())

const megabytes = 2 ** 20

describe('a sweep', () => {
  test('over a few huge records among many small ones reads and writes their wraps only', async () => {
    fixture = await openFixture()
    await fixture.fill(names(400))
    const records = fixture.store.db.collection<SealedRecord & { picture: Binary }>(collection)
    const picture = new Binary(randomBytes(12 * megabytes))
    for (const record of await fixture.seal(names(4, 'huge'))) {
      await records.insertOne({ ...record, picture })
    }
    const [range] = await fixture.plan()
    const before = process.memoryUsage().rss
    await fixture.sweep(range!.range, { page: 1_000 })
    expect(process.memoryUsage().rss - before).toBeLessThan(40 * megabytes)
    expect(await fixture.counters()).toMatchObject({
      rewrapped: 404,
      superseded: 0,
      quarantined: 0,
    })
    const huge = await records.findOne({ _id: 'huge000003' })
    expect(Buffer.compare(huge!.picture.value(), picture.value())).toBe(0)
  })

  test('leaves records alone that have no envelope, or null in its place', async () => {
    fixture = await openFixture()
    await fixture.fill(names(150))
    const others = names(150, 'other').map((_id, index) => {
      return index % 2 === 0 ? { _id, name: 'none' } : { _id, name: 'null', secret: null }
    })
    await fixture.insert(others)
    for (const { range } of await fixture.plan(3)) await fixture.sweep(range, { page: 20 })
    expect(await fixture.counters()).toMatchObject({
      rewrapped: 150,
      superseded: 0,
      quarantined: 0,
    })
    const rows = fixture.store.db.collection<{ _id: string }>(collection)
    const after = await rows.find({ name: { $exists: true } }).toArray()
    expect(after.toSorted((a, b) => (a._id < b._id ? -1 : 1))).toEqual(others)
  })

  test('that was stopped goes on through another connection with nothing of the first in memory', async () => {
    fixture = await openFixture()
    await fixture.fill(names(300))
    const [range] = await fixture.plan()
    const stopping = new AbortController()
    const first = await fixture.sweep(range!.range, {
      page: 20,
      signal: stopping.signal,
      onPage: () => stopping.abort(),
    })
    expect(first.end).toBe('aborted')
    expect(first.counters.rewrapped).toBeLessThan(300)
    const { databaseName } = fixture.store.db
    const store = await openStore({ uri: inject('mongoUri'), database: databaseName })
    try {
      expect(await fixture.sweep(range!.range, { store, page: 20 })).toMatchObject({ end: 'end' })
    } finally {
      await store.close()
    }
    expect(await fixture.counters()).toMatchObject({ rewrapped: 300, superseded: 0, hsmCalls: 900 })
    expect(await fixture.openAll()).toEqual({ 2: 300 })
  })

  test('with priority for the applications does all of it too, in short pages', async () => {
    fixture = await openFixture()
    await fixture.fill(names(600))
    const [range] = await fixture.plan()
    const sums: number[] = []
    await fixture.sweep(range!.range, {
      page: 1_000,
      priority: 'applications',
      onPage: ({ counters }) => sums.push(counters.rewrapped),
    })
    expect(sums).toEqual([250, 500, 600])
  })

  test.each<[string, CreateCollectionOptions]>([
    ['clustered', { clusteredIndex: { key: { _id: 1 }, unique: true } }],
    ['of another collation', { collation: { locale: 'de', numericOrdering: true } }],
  ])('meets each record of a collection that is %s', async (_, options) => {
    fixture = await openFixture()
    await fixture.store.db.dropCollection(collection)
    await fixture.store.db.createCollection(collection, options)
    await createIndexes(fixture.store, [{ name: collection, envelopes: ['secret'] }])
    // By bytes 10 is before 9, and Z before a; by that collation it is the other way round.
    const ids = Array.from({ length: 90 }, (__, at) => `${'Zaä'[at % 3]}${at}`)
    await fixture.fill([...ids, ...Array.from({ length: 30 }, (__, at) => at)])
    for (const { range } of await fixture.plan(3)) {
      const stopping = new AbortController()
      const stop = { page: 7, signal: stopping.signal, onPage: () => stopping.abort() }
      expect(await fixture.sweep(range, stop)).toMatchObject({ end: 'aborted' })
      expect(await fixture.sweep(range, { page: 7 })).toMatchObject({ end: 'end' })
    }
    expect(await fixture.counters()).toMatchObject({
      rewrapped: 120,
      superseded: 0,
      quarantined: 0,
    })
    expect(await fixture.openAll()).toEqual({ 2: 120 })
  })

  test('over _ids of 15 kB, 200 kB and 1 MB re-wraps each, and steps over what is in quarantine', async () => {
    fixture = await openFixture()
    const ids = [15_000, 200_000, 2 ** 20].flatMap((bytes) => longIds(bytes, 9 * megabytes))
    // What is sealed has the _id in it, twice as long.
    for (const each of byteSlices(ids, sizeOf, { count: 100, bytes: 4 * megabytes }))
      await fixture.fill(each)
    // Of every size and kind, one that does not open.
    const broken = ids.filter((_, at) => at % 7 === 3)
    const records = fixture.store.db.collection(collection)
    const otherIv = { $set: { 'secret.dek_iv': new Binary(randomBytes(12)) } }
    for (const id of broken) await records.updateOne({ _id: { $eq: id } } as object, otherIv)
    for (const { range } of await fixture.plan(3)) {
      const stopping = new AbortController()
      const stop = { page: 1_000, signal: stopping.signal, onPage: () => stopping.abort() }
      await fixture.sweep(range, stop)
      expect(await fixture.sweep(range, { page: 1_000 })).toMatchObject({ end: 'end' })
    }
    const counters = { rewrapped: ids.length - broken.length, quarantined: broken.length }
    expect(await fixture.counters()).toMatchObject({ ...counters, superseded: 0 })
    // The tail meets them again: none is counted twice, and their look-up is no command that is too large.
    for (const { range } of await fixture.plan(1, 1)) {
      expect(await fixture.sweep(range, { page: 1_000, tail: true })).toMatchObject({ end: 'end' })
    }
    expect(await fixture.counters()).toMatchObject({ ...counters, superseded: 0 })
    expect(await fixture.census()).toEqual({ 1: broken.length, 2: ids.length - broken.length })
  })
})

/** Strings, binaries and sub-documents of one size, a third each, of so many bytes in all. */
function longIds(bytes: number, inAll: number): unknown[] {
  return Array.from({ length: Math.ceil(inAll / bytes) }, (_, at) => {
    const text = `${at}`.padEnd(bytes, 'x')
    return [text, new Binary(Buffer.from(text)), { at, text }][at % 3]
  })
}

function sizeOf(id: unknown): number {
  return BSON.calculateObjectSize({ id })
}
