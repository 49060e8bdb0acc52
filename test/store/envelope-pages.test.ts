import { beforeAll, describe, expect, test } from 'vitest'
import { BSON, Double, Int32, Long } from 'mongodb'
import { keyturnLayout } from '../../envelope/layout.ts'
import { idBytes, idBytesFromRaw } from '../../envelope/record-id.ts'
import { splitPoints } from '../../store/census.ts'
import type { Bound } from '../../store/documents.ts'
import { readPage, type PageEntry } from '../../store/envelope-pages.ts'
import { commitPage } from '../../store/page-transaction.ts'
import { sumCounters } from '../../store/rewrap-ranges.ts'
import type { Store } from '../../store/store.ts'
import { kindsOfIds } from './kinds-of-ids.ts'
import {
  allEntries,
  certificates,
  fill,
  layout,
  page,
  pageInput,
  record,
  startSweep,
  testStore,
} from './support.ts'

const each = 250
let store: Store
const ids = kindsOfIds(each)
const hex = (entries: PageEntry[]) => entries.map((entry) => entry.idBytes.toString('hex'))

beforeAll(async () => {
  store = await testStore()
  await fill(store, ids)
  // What is under other versions is none of the walk's business.
  await store.db
    .collection(certificates)
    .insertMany(
      Array.from({ length: 50 }, (_, n) => record(`other ${n}`, n % 2 === 0 ? 2 : 3)) as never[],
    )
})

describe('walking envelopes of 20 kinds of _id', () => {
  test.each([1000, 997, 64])('reads each once with pages of %i', async (limit) => {
    const found = hex(await allEntries(store, limit))
    expect(found).toHaveLength(ids.length)
    expect(new Set(found)).toEqual(new Set(ids.map((id) => idBytes(id).toString('hex'))))
  })

  test('returns each _id exactly as stored', async () => {
    const stored = new Set<string>()
    for await (const raw of store.db
      .collection(certificates)
      .find({}, { raw: true, projection: { _id: 1 } })) {
      stored.add((raw as unknown as Buffer).toString('hex'))
    }
    for (const entry of await allEntries(store, 1000)) {
      const back = BSON.serialize({ _id: entry.id })
      expect(stored).toContain(Buffer.from(back).toString('hex'))
      expect(idBytesFromRaw(back)).toEqual(entry.idBytes)
    }
  })

  test('reads the wrap fields only, and does not promote them', async () => {
    const { entries } = await page(store, null, 1)
    const wrap = entries[0]?.wrap as Record<string, unknown>
    expect(Object.keys(wrap).sort()).toEqual([
      'dek_iv',
      'dek_wrapped',
      'format',
      'kek_version',
      'provider',
    ])
    expect(wrap['kek_version']).toBeInstanceOf(Int32)
  })

  test('reads the same envelopes in ranges cut by split points, none twice', async () => {
    const place = { collection: certificates, layout, version: 1 }
    const points = await splitPoints(store, { ...place, ranges: 7 })
    expect(points).toHaveLength(6)
    const sizes: number[] = []
    const found: string[] = []
    for (const [index, from] of [null, ...points].entries()) {
      const until = points[index] ?? null
      let after: Bound | null = null
      let size = 0
      for (let more = true; more;) {
        const next = await readPage(store, { ...place, from, after, until, limit: 100 })
        found.push(...hex(next.entries))
        size += next.entries.length
        after = next.entries.at(-1)?.cursor ?? after
        more = next.more
      }
      sizes.push(size)
    }
    expect(found).toHaveLength(ids.length)
    expect(new Set(found).size).toBe(ids.length)
    expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThan(20)
  })

  test('continues after a cursor whose record is gone', async () => {
    const first = await page(store, null, 10)
    const cursor = first.entries.at(-1)?.cursor ?? null
    const before = await page(store, cursor, 10)
    await store.db
      .collection(certificates)
      .updateOne({ _id: cursor?.v } as never, { $set: { 'secret.key.kek_version': 3 } })
    expect(hex((await page(store, cursor, 10)).entries)).toEqual(hex(before.entries))
    await store.db
      .collection(certificates)
      .updateOne({ _id: cursor?.v } as never, { $set: { 'secret.key.kek_version': 1 } })
  })

  test('re-wraps all of them, including sub-documents with integer-like keys', async () => {
    const sweep = await startSweep(store)
    let { cursor } = sweep.taken
    for (let more = true; more;) {
      const next = await page(store, cursor, 700)
      const newCursor = next.entries.at(-1)?.cursor ?? cursor
      const input = pageInput(sweep, next.entries, { oldCursor: cursor, newCursor })
      expect(await commitPage(store, sweep.taken.session, input)).toEqual({
        kind: 'committed',
        rewrapped: next.entries.length,
        superseded: 0,
        quarantined: 0,
      })
      cursor = newCursor
      more = next.more
    }
    expect(await sumCounters(store, sweep.rotation)).toEqual({
      rewrapped: ids.length,
      superseded: 0,
      quarantined: 0,
      hsmCalls: ids.length * 3,
    })
    expect((await page(store, null, 1)).entries).toEqual([])
  })
})

describe('a page', () => {
  test('throws index-missing without the index', async () => {
    const reading = readPage(store, {
      collection: certificates,
      layout: keyturnLayout('secret.other'),
      version: 1,
      after: null,
      until: null,
      limit: 10,
    })
    await expect(reading).rejects.toMatchObject({ code: 'index-missing' })
  })

  test('is empty for a missing collection', async () => {
    const nowhere = { collection: 'nowhere', layout, version: 1 }
    const reading = readPage(store, { ...nowhere, after: null, until: null, limit: 10 })
    await expect(reading).resolves.toEqual({ entries: [], more: false })
  })

  test('distinguishes a new record from the cursor when both ids are equal as numbers', async () => {
    const place = { collection: certificates, layout, version: 9 }
    const records = store.db.collection(certificates)
    await records.insertOne(record(new Double(-5), 9) as never)
    const behind = async (v: unknown) =>
      (await readPage(store, { ...place, after: { v }, until: null, limit: 10 })).entries.length
    expect(await behind(new Double(-5))).toBe(0)
    expect(await behind(Long.fromNumber(-5))).toBe(1)
  })

  test('returns any value that is in the place of an envelope', async () => {
    const place = { collection: certificates, layout, version: 8 }
    const records = store.db.collection(certificates)
    await records.insertOne({
      _id: 'broken',
      secret: { key: { kek_version: 8, provider: 7 } },
    } as never)
    const { entries } = await readPage(store, { ...place, after: null, until: null, limit: 10 })
    expect(entries[0]?.wrap).toMatchObject({ provider: new Int32(7) })
  })
})
