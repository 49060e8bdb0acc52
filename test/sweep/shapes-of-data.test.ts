import { randomBytes } from 'node:crypto'
import { afterEach, describe, expect, inject, test } from 'vitest'
import { Binary, type CreateCollectionOptions } from 'mongodb'
import { createIndexes } from '../../store/indexes.ts'
import { openStore } from '../../store/store.ts'
import { collection, names, openLab, type Fixture, type SealedRecord } from './fixture.ts'

let fixture: Fixture
afterEach(async () => fixture.close())

const megabytes = 2 ** 20

describe('a sweep', () => {
  test('over a few huge records among many small ones reads and writes their wraps only', async () => {
    fixture = await openLab()
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
    fixture = await openLab()
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
    fixture = await openLab()
    await fixture.fill(names(300))
    const [range] = await fixture.plan()
    const stopping = new AbortController()
    const first = await fixture.sweep(range!.range, {
      ...{ page: 20, signal: stopping.signal },
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
    fixture = await openLab()
    await fixture.fill(names(600))
    const [range] = await fixture.plan()
    const sums: number[] = []
    await fixture.sweep(range!.range, {
      ...{ page: 1_000, priority: 'applications' },
      onPage: ({ counters }) => sums.push(counters.rewrapped),
    })
    expect(sums).toEqual([250, 500, 600])
  })

  test.each<[string, CreateCollectionOptions]>([
    ['clustered', { clusteredIndex: { key: { _id: 1 }, unique: true } }],
    ['of another collation', { collation: { locale: 'de', numericOrdering: true } }],
  ])('meets each record of a collection that is %s', async (_, options) => {
    fixture = await openLab()
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
})
