import { createHash, randomBytes } from 'node:crypto'
import { afterEach, describe, expect, test } from 'vitest'
import { Binary, ObjectId, UUID, type Document } from 'mongodb'
import { layoutChecks } from '../../cli/doctor/layout-checks.ts'
import type { CollectionConfig, DeclaredLayout, FleetSettings } from '../../contracts/settings.ts'
import { remainingOf } from '../../store/census.ts'
import { fenceOn, hasFence, lowerFence, raiseFence } from '../../store/fence.ts'
import { indexFaults } from '../../store/index-faults.ts'
import { createIndexes } from '../../store/indexes.ts'
import { writeSettings } from '../../store/kek-settings.ts'
import { sampleWraps } from '../../store/sample-wraps.ts'
import { listQuarantine, recheckQuarantine } from '../../store/rewrap-quarantine.ts'
import { scanUnwrap } from '../../sweep/scan-unwrap.ts'
import { planRanges } from '../../sweep/range-plan.ts'
import { openFixture, type Fixture } from './fixture.ts'

let fixture: Fixture
afterEach(async () => fixture.close())

const count = 120
const place = { collection: 'customers', field: 'secret' }

interface Shape {
  layout: DeclaredLayout
  id: (index: number) => unknown
  /** What the application wraps with: made here once more, not by the code under test. */
  aad: (id: unknown, version: number, fixture: Fixture) => Buffer
  /** The record's members, from IV and ciphertext || tag. */
  members: (version: number, iv: Buffer, wrapped: Buffer) => Document
  /** Back again. */
  read: (record: Document) => { version: number; iv: Buffer; wrapped: Buffer }
}

const sha256 = (text: string) => createHash('sha256').update(text).digest()
const bytes = (value: unknown) => Buffer.from((value as Binary).value())

/** The three worked examples of docs/layouts.md. */
const shapes: Record<string, Shape> = {
  'version and blobs in flat fields': {
    layout: {
      version: 'key_version',
      wrapped: 'secret_dek',
      iv: 'secret_iv',
      encoding: 'binary',
      aad: 'none',
    },
    id: () => new ObjectId(),
    aad: () => Buffer.alloc(0),
    members: (key_version, iv, wrapped) => {
      return { key_version, secret_iv: new Binary(iv), secret_dek: new Binary(wrapped) }
    },
    read: ({ key_version, secret_iv, secret_dek }) => {
      return { version: Number(key_version), iv: bytes(secret_iv), wrapped: bytes(secret_dek) }
    },
  },
  'one base64 text of iv, ciphertext and tag': {
    layout: {
      version: 'crypto.version',
      wrapped: 'crypto.key',
      iv: 'prefix',
      encoding: 'base64',
      aad: { sha256: ['text:acme', 'install', 'collection', 'id', 'version'], separator: '|' },
    },
    id: () => new UUID(),
    aad: (id, version, { install }) =>
      sha256(['acme', install, 'customers', String(id), String(version)].join('|')),
    members: (version, iv, wrapped) => {
      return { crypto: { version, key: Buffer.concat([iv, wrapped]).toString('base64') } }
    },
    read: ({ crypto }) => {
      const { version, key } = crypto as { version: number; key: string }
      const whole = Buffer.from(key, 'base64')
      return { version, iv: whole.subarray(0, 12), wrapped: whole.subarray(12) }
    },
  },
  'aad of record id and field name': {
    layout: {
      version: 'v',
      wrapped: 'dek',
      iv: 'nonce',
      encoding: 'hex',
      aad: { sha256: ['id', 'field'] },
    },
    id: (index) => (index % 2 === 0 ? index : `customer-${index}`),
    aad: (id) => sha256(`${String(id)}secret`),
    members: (v, iv, wrapped) => ({ v, nonce: iv.toString('hex'), dek: wrapped.toString('hex') }),
    read: ({ v, nonce, dek }) => {
      return {
        version: Number(v),
        iv: Buffer.from(String(nonce), 'hex'),
        wrapped: Buffer.from(String(dek), 'hex'),
      }
    },
  },
}

async function open({ layout, id, aad, members }: Shape) {
  fixture = await openFixture()
  const { store, provider } = fixture
  const collections: CollectionConfig[] = [
    { name: place.collection, envelopes: [place.field], layouts: [{ field: 'secret', layout }] },
  ]
  const settings = { collections } as unknown as FleetSettings
  await writeSettings(store, { settings, by: 'test' })
  await createIndexes(store, collections)
  const deks = new Map<string, Buffer>()
  const records: Document[] = []
  for (let index = 0; index < count; index++) {
    const _id = id(index)
    const dek = randomBytes(32)
    const [wrap] = await provider.wrap(1, [{ dek, aad: aad(_id, 1, fixture) }])
    deks.set(String(_id), Buffer.from(dek))
    records.push({ _id, name: `n${index}`, ...members(1, wrap!.iv, wrap!.wrapped) })
  }
  // Others have no secret, as half of the records of a real collection.
  for (let index = 0; index < count; index++) records.push({ _id: new ObjectId(), name: 'none' })
  await store.db.collection(place.collection).insertMany(records)
  return { collections, deks, records }
}

async function sweep(collections: CollectionConfig[], ranges = 2) {
  const { store, rotation } = fixture
  const planned = await planRanges(store, { rotation, collections, version: 1, ranges })
  for (const { range } of planned) await fixture.sweep(range, { page: 30 })
}

const doctor = async (collections: CollectionConfig[]) => {
  const records = await sampleWraps(fixture.store, collections, place, 50)
  const keystore = {
    install: { name: fixture.install } as never,
    settings: { collections } as unknown as FleetSettings,
  }
  const [check] = await layoutChecks(keystore, [{ ...place, records }], fixture.provider)
  return check
}

describe.each(Object.entries(shapes))('%s', (_, shape) => {
  test('is rotated, and nothing but version, iv and wrapped DEK is touched', async () => {
    const { collections, deks, records } = await open(shape)
    expect(await indexFaults(fixture.store, collections)).toEqual([])
    expect(await doctor(collections)).toMatchObject({ state: 'ok' })
    expect(await remainingOf(fixture.store, collections, 1)).toBe(count)
    await sweep(collections)
    expect(await fixture.counters()).toMatchObject({
      rewrapped: count,
      superseded: 0,
      quarantined: 0,
    })
    expect(await remainingOf(fixture.store, collections, 1)).toBe(0)
    for await (const record of fixture.store.db.collection(place.collection).find()) {
      const before = records.find(({ _id }) => String(_id) === String(record._id))!
      const dek = deks.get(String(record._id))
      if (dek === undefined) {
        expect(record).toEqual(before)
        continue
      }
      const { version, iv, wrapped } = shape.read(record)
      expect(version).toBe(2)
      const aad = shape.aad(record._id, 2, fixture)
      expect(await fixture.provider.unwrap(2, [{ iv, wrapped, aad }])).toEqual([dek])
      // Of the same shape to the last member, and all else as it was.
      expect(record).toEqual({ ...before, ...shape.members(2, iv, wrapped) })
    }
    const census = await scanUnwrap({
      store: fixture.store,
      provider: fixture.provider,
      install: fixture.install,
      collections,
      onProgress: () => undefined,
      signal: new AbortController().signal,
    })
    expect(census).toEqual({ opened: count, failed: [] })
  })

  test('quarantines what is broken, and a repaired one clears its row', async () => {
    const { collections, records } = await open(shape)
    const rows = fixture.store.db.collection(place.collection)
    const [broken, moved, fine] = records as [Document, Document, Document]
    const { wrapped } = shape.layout
    await rows.updateOne(idOf(broken), { $set: { [wrapped]: 42 } })
    if (shape.layout.aad !== 'none') {
      const { iv, wrapped: other } = shape.read(fine)
      await rows.updateOne(idOf(moved), { $set: shape.members(1, iv, other) })
    }
    const bad = shape.layout.aad === 'none' ? 1 : 2
    await sweep(collections)
    expect(await fixture.counters()).toMatchObject({ rewrapped: count - bad, quarantined: bad })
    expect((await listQuarantine(fixture.store)).map(({ code }) => code).sort()).toEqual(
      ['envelope-unreadable', 'malformed'].slice(2 - bad),
    )
    expect(await remainingOf(fixture.store, collections, 1)).toBe(0)
    await rows.replaceOne(idOf(broken), broken)
    expect(await remainingOf(fixture.store, collections, 1)).toBe(1)
    expect(await recheckQuarantine(fixture.store, 1)).toBe(1)
  })

  test('has a fence on its own path, which comes off without a trace', async () => {
    const { collections, records } = await open(shape)
    const fence = fenceOn(collections[0]!, 7)
    const rows = fixture.store.db.collection(place.collection)
    await raiseFence(fixture.store, fence)
    expect(await hasFence(fixture.store, fence)).toBe(true)
    const { version } = shape.layout
    const filter = idOf(records[0]!)
    await expect(rows.updateOne(filter, { $set: { [version]: 7 } })).rejects.toMatchObject({
      code: 121,
    })
    await lowerFence(fixture.store, fence)
    await rows.updateOne(filter, { $set: { [version]: 7 } })
    const [info] = await fixture.store.db.listCollections({ name: place.collection }).toArray()
    expect((info as { options?: Document }).options?.['validator'] ?? {}).toEqual({})
  })
})

describe('doctor', () => {
  const shape = shapes['aad of record id and field name']!
  const wrong: [string, Partial<DeclaredLayout>, RegExp][] = [
    ['a path that is not there', { wrapped: 'deck' }, /has no "deck"/],
    ['a wrong type', { encoding: 'binary' }, /"dek" is not a binary/],
    ['a wrong encoding', { encoding: 'base64' }, /"dek" has 72 bytes/],
    ['a recipe that does not open', { aad: { sha256: ['field', 'id'] } }, /does not open under v1/],
  ]
  test.each(wrong)('names %s', async (_, change, message) => {
    await open(shape)
    const layout = { ...shape.layout, ...change }
    const layouts = [{ field: 'secret', layout }]
    const check = await doctor([{ name: place.collection, envelopes: ['secret'], layouts }])
    expect(check).toMatchObject({ state: 'fail' })
    expect(check?.detail).toMatch(message)
  })
})

const idOf = (record: Document) => ({ _id: record['_id'] as never })
