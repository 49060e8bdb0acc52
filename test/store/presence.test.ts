import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { BSON, Binary, Decimal128, Int32, Long, type Document } from 'mongodb'
import { beforeEach, describe, expect, test } from 'vitest'
import type { CollectionConfig, DeclaredLayout, FleetSettings } from '../../contracts/settings.ts'
import { layoutIn } from '../../envelope/layout.ts'
import { censusDifferences, countVersions, leftOf } from '../../store/census.ts'
import { writeSettings } from '../../store/kek-settings.ts'
import { countKnownOdd, rowsAtMost } from '../../store/odd-envelopes.ts'
import { quarantineOdd } from '../../store/odd-quarantine.ts'
import { presenceExpression, presenceOf } from '../../store/presence.ts'
import {
  countQuarantine,
  listQuarantine,
  recheckQuarantine,
} from '../../store/rewrap-quarantine.ts'
import { anyValue } from './odd.ts'
import { envelope, testStore } from './support.ts'

const layout: DeclaredLayout = {
  version: 'crypto.version',
  wrapped: 'crypto.dek',
  iv: 'nonce.iv',
  encoding: 'binary',
  aad: 'none',
}
const collections: CollectionConfig[] = [
  { name: 'flat', envelopes: ['secret'] },
  { name: 'deep', envelopes: ['a.b.secret'] },
  { name: 'own', envelopes: ['secret'], layouts: [{ field: 'secret', layout }] },
]
const store = await testStore(collections)
const settings = { collections } as unknown as FleetSettings
await writeSettings(store, { settings, by: 'test' })

beforeEach(async () => {
  for (const { name } of collections) await store.db.collection(name).deleteMany({})
  await store.db.collection('rewrap_quarantine').deleteMany({})
})

/** An envelope, one of its members replaced or taken away, or anything at all in its place. */
const anyEnvelope: fc.Arbitrary<unknown> = fc.oneof(
  { arbitrary: anyValue, weight: 2 },
  {
    weight: 6,
    arbitrary: fc
      .tuple(
        fc.integer({ min: 1, max: 3 }),
        fc.constantFrom('format', 'kek_version', 'provider', 'dek_iv', 'dek_wrapped', 'iv'),
        fc.option(anyValue, { nil: undefined }),
      )
      .map(([version, member, value]) => {
        const whole: Record<string, unknown> = envelope(version)
        if (value === undefined) return omit(whole, member)
        return { ...whole, [member]: value }
      }),
  },
)

function omit(whole: Record<string, unknown>, member: string) {
  return Object.fromEntries(Object.entries(whole).filter(([name]) => name !== member))
}

/** A value at the end of a path, with anything on the way now and then. */
function onPath(path: readonly string[], leaf: fc.Arbitrary<unknown>): fc.Arbitrary<Document> {
  const [name = '', ...rest] = path
  const inner =
    rest.length === 0 ? leaf : fc.oneof(anyValue, onPath(rest, leaf), onPath(rest, leaf))
  return fc
    .option(inner, { nil: undefined })
    .map((value) => (value === undefined ? {} : { [name]: value }))
}

const documents: Record<string, fc.Arbitrary<Document>> = {
  flat: onPath(['secret'], anyEnvelope),
  deep: onPath(['a', 'b', 'secret'], anyEnvelope),
  own: fc
    .tuple(
      onPath(
        ['crypto'],
        fc.oneof(anyValue, fc.record({ version: anyValue, dek: anyValue }, { requiredKeys: [] })),
      ),
      onPath(['nonce', 'iv'], anyValue),
    )
    .map(([crypto, nonce]) => ({ ...crypto, ...nonce })),
}

describe('one definition of "an envelope is here"', () => {
  test.each(Object.keys(documents))(
    'is the same in a query, in memory, and in the census by indexes (%s)',
    async (name) => {
      const found = layoutIn(
        collections,
        name,
        collections.find((one) => one.name === name)!.envelopes[0]!,
      )
      const records = store.db.collection(name)
      const sample = fc.sample(documents[name]!, { numRuns: 1_500, seed: 12 })
      await records.insertMany(
        sample.map((document, index) => ({ _id: index as never, ...document })),
      )
      const classified = await records
        .aggregate<{ _id: number; is: unknown }>([{ $project: { is: presenceExpression(found) } }])
        .toArray()
      const raw = await records.find<Buffer>({}, { raw: true, sort: { _id: 1 } }).toArray()
      expect(raw.map((document) => presenceOf(document, found))).toEqual(
        classified.sort((one, other) => one._id - other._id).map(({ is }) => is ?? 'none'),
      )
      const odd = classified.filter(({ is }) => is === 'odd').length
      expect(odd).toBeGreaterThan(100)
      expect(classified.filter(({ is }) => typeof is === 'number').length).toBeGreaterThan(3)
      expect(await censusDifferences(store, collections)).toEqual([])
      const { byVersion, odd: counted } = await countVersions(store, collections)
      expect(counted).toBe(odd)
      const versions = Object.values(byVersion).reduce((sum, envelopes) => sum + envelopes, 0)
      expect(versions).toBe(classified.filter(({ is }) => typeof is === 'number').length)
      expect(await quarantineOdd(store, collections, null)).toEqual({ odd, quarantined: odd })
      expect(await quarantineOdd(store, collections, null)).toEqual({ odd, quarantined: 0 })
      expect(await leftOf(store, collections, 1)).toMatchObject({ odd: 0 })
      expect(await recheckQuarantine(store)).toBe(0)
      expect(await countQuarantine(store, null)).toBe(odd)
    },
  )

  test('accepts an integral number of any type as a version, at any position among the records', async () => {
    const versions = [
      Decimal128.fromString('1'),
      1,
      new Int32(1),
      Long.fromNumber(1),
      Decimal128.fromString('1.0'),
      Decimal128.fromString('10E-1'),
    ]
    const records = store.db.collection('flat')
    for (const order of [versions, [...versions].reverse()]) {
      await records.deleteMany({})
      await records.insertMany(
        order.map((kek_version) => ({ secret: { ...envelope(1), kek_version } })),
      )
      expect(await countVersions(store, collections)).toMatchObject({
        byVersion: { 1: versions.length },
        odd: 0,
      })
    }
  })

  test('clears the row of an odd envelope that was repaired, deleted, or became odd in another way', async () => {
    const records = store.db.collection<{ _id: string }>('flat')
    const ids = ['repaired', 'deleted', 'other', 'same']
    await records.insertMany(
      ids.map((_id) => ({ _id, secret: { ...envelope(1), kek_version: 'x' } })),
    )
    await quarantineOdd(store, collections, null)
    await records.updateOne({ _id: 'repaired' }, { $set: { 'secret.kek_version': 1 } })
    await records.deleteOne({ _id: 'deleted' })
    await records.updateOne({ _id: 'other' }, { $set: { 'secret.kek_version': 'y' } })
    expect(await leftOf(store, collections, 1)).toEqual({ under: 1, odd: 1 })
    expect(await recheckQuarantine(store)).toBe(3)
    expect((await listQuarantine(store)).map(({ _id }) => _id.id)).toEqual(['same'])
    expect(await quarantineOdd(store, collections, null)).toEqual({ odd: 2, quarantined: 1 })
  })

  test('gives the first odd envelopes of a field rows of their own, and the rest one row', async () => {
    const records = store.db.collection('flat')
    const many = Array.from({ length: 27 }, () => ({ secret: 'no envelope' }))
    await records.insertMany(many)
    const look = async () => await quarantineOdd(store, collections, null, 20)
    expect(await look()).toEqual({ odd: 27, quarantined: 27 })
    expect(await look()).toEqual({ odd: 27, quarantined: 0 })
    const rows = await listQuarantine(store)
    expect(rows).toHaveLength(21)
    expect(rows.filter(({ code }) => code === 'odd-many')).toMatchObject([
      { kek_version: null, count: 7 },
    ])
    expect(await countQuarantine(store, null)).toBe(27)
    expect(await leftOf(store, collections, 1)).toEqual({ under: 0, odd: 0 })
    await records.insertOne({ secret: 'one more' })
    expect(await leftOf(store, collections, 1)).toEqual({ under: 0, odd: 1 })
    expect(await look()).toEqual({ odd: 28, quarantined: 1 })
    await records.deleteMany({})
    expect(await recheckQuarantine(store)).toBe(21)
    expect(rowsAtMost).toBe(10_000)
  })

  test('stores an odd envelope of 16 MB as a row of a few hundred bytes', async () => {
    const records = store.db.collection('flat')
    const provider = 'x'.repeat(16 * 2 ** 20 - 10_000)
    await records.insertOne({ secret: { ...omit(envelope(1), 'dek_iv'), provider } })
    await records.insertOne({ secret: randomBytes(15 * 2 ** 20) })
    expect(await quarantineOdd(store, collections, null)).toEqual({ odd: 2, quarantined: 2 })
    for (const row of await listQuarantine(store)) {
      expect(BSON.calculateObjectSize(row)).toBeLessThan(600)
    }
    const place = {
      collection: 'flat',
      field: 'secret',
      layout: layoutIn(collections, 'flat', 'secret'),
    }
    expect(await countKnownOdd(store, place)).toBe(2)
  })

  test('counts a record with an array on the way once', async () => {
    const wraps = [envelope(1), envelope(2), new Binary(Buffer.alloc(1))]
    await store.db.collection('flat').insertOne({ secret: wraps })
    await store.db.collection('deep').insertOne({ a: [{ b: { secret: envelope(1) } }] })
    await store.db.collection('deep').insertOne({ a: { b: 'scalar' } })
    expect(await countVersions(store, collections)).toMatchObject({ byVersion: {}, odd: 2 })
  })
})
