import type { CreateCollectionOptions, Document } from 'mongodb'
import { describe, expect, test } from 'vitest'
import type { FleetSettings } from '../../contracts/settings.ts'
import { censusDifferences, countVersion, countVersions, leftOf } from '../../store/census.ts'
import { checkShapes, lostCollections, requireCollections } from '../../store/collections.ts'
import { endFault } from '../../store/ending.ts'
import { createIndexes } from '../../store/indexes.ts'
import { writeSettings } from '../../store/kek-settings.ts'
import { collectionUuids } from '../../store/keystore-home.ts'
import { quarantineOdd } from '../../store/odd-quarantine.ts'
import { countQuarantine, recheckQuarantine } from '../../store/rewrap-quarantine.ts'
import { readForRemoval } from '../../store/removal-reading.ts'
import { certificates, configured, field, fill, record, testStore } from './support.ts'

const store = await testStore()

/** Of views: MongoDB refuses each read of them, now or with a record. */
const failingPipelines: Record<string, Document[]> = {
  'a division by zero': [{ $set: { secret: { $divide: [1, 0] } } }],
  'a conversion that fails': [{ $match: { $expr: { $toInt: 'x' } } }],
  'a missing field is needed': [{ $set: { n: { $add: ['$name', 1] } } }],
}

describe('collections', () => {
  test('may be ordinary or clustered; views, time series and capped collections are refused', async () => {
    await checkShapes(store, configured)
    await store.db.createCollection('view', { viewOn: certificates, pipeline: [] })
    await store.db.createCollection('log', { capped: true, size: 4_096 })
    await store.db.createCollection('series', { timeseries: { timeField: 'at' } })
    await store.db.createCollection('clustered', {
      clusteredIndex: { key: { _id: 1 }, unique: true },
    })
    const refused: Record<string, RegExp> = {
      view: /is a view$/,
      log: /is capped/,
      series: /is a time series$/,
    }
    for (const [name, message] of Object.entries(refused)) {
      await expect(checkShapes(store, [{ name, envelopes: [field] }])).rejects.toMatchObject({
        code: 'unsupported-shape',
        message: expect.stringMatching(message) as string,
      })
    }
    await checkShapes(store, [{ name: 'clustered', envelopes: [field] }])
  })

  test('that are missing, replaced or now a view are recognised', async () => {
    const names = ['kept', 'renamed', 'dropped', 'anew', 'viewed']
    for (const name of names) await store.db.createCollection(name)
    const uuids = await collectionUuids(store)
    const recorded = names.map((name) => ({ name, envelopes: [field], uuid: uuids.get(name)! }))
    await requireCollections(store, recorded)
    await store.db.renameCollection('renamed', 'elsewhere')
    for (const name of ['dropped', 'anew', 'viewed']) await store.db.dropCollection(name)
    await store.db.createCollection('anew')
    await store.db.createCollection('viewed', { viewOn: 'kept', pipeline: [] })
    expect((await lostCollections(store, recorded)).map(({ code }) => code)).toEqual([
      'collection-missing',
      'collection-missing',
      'collection-replaced',
      'collection-replaced',
    ])
    await expect(requireCollections(store, recorded)).rejects.toMatchObject({
      code: 'collection-missing',
      message: 'collection "renamed" is missing',
    })
  })

  test('are counted whatever replaced them, and each such count is reported by name', async () => {
    const name = 'changing'
    const places = [{ name, envelopes: [field] }]
    const shapes: Record<string, CreateCollectionOptions> = {
      'is a view': { viewOn: certificates, pipeline: [] },
      'is capped': { capped: true, size: 2 ** 16 },
      'is a time series': { timeseries: { timeField: 'at' } },
    }
    await fill(store, ['a', 'b'])
    for (const [why, options] of Object.entries(shapes)) {
      // The names of its indexes are known by then.
      await createIndexes(store, places)
      await countVersions(store, places)
      await store.db.dropCollection(name)
      await store.db.createCollection(name, options)
      if (options.viewOn === undefined) {
        const records = ['a', 'b'].map((id) => ({ ...record(id, 1), at: new Date() }))
        await store.db.collection(name).insertMany(records as never[])
      }
      const counts = { why, ...(await countVersions(store, places)) }
      expect(counts).toMatchObject({ why, byVersion: { 1: 2 }, odd: 0 })
      expect(await leftOf(store, places, 1)).toEqual({ under: 2, odd: 0 })
      expect(await censusDifferences(store, places)).toEqual([])
      expect(await quarantineOdd(store, places, null)).toMatchObject({ odd: 0 })
      const code = why === 'is capped' ? 'unsupported-shape' : 'collection-replaced'
      const message = expect.stringContaining(why) as string
      expect(await lostCollections(store, places)).toMatchObject([{ code, message }])
      expect(await endFault(store, places, 1)).toMatchObject({ code, message })
      expect((await readForRemoval(store, 1, places)).lost).toMatchObject([{ code }])
      await store.db.dropCollection(name)
    }
  })

  test.each(Object.entries(failingPipelines))(
    'that are now a view with a failing pipeline are named and not counted: %s',
    async (_, pipeline) => {
      const places = [{ name: 'failing', envelopes: [field] }, ...configured]
      await createIndexes(store, places)
      await fill(store, ['a', 'b'])
      await countVersions(store, places)
      await store.db.dropCollection('failing')
      await store.db.createCollection('failing', { viewOn: certificates, pipeline })
      await expect(store.db.collection('failing').countDocuments()).rejects.toThrow()
      expect(await countVersions(store, places)).toMatchObject({ byVersion: { 1: 2 }, odd: 0 })
      expect(await countVersion(store, places, 1)).toBe(2)
      expect(await leftOf(store, places, 1)).toEqual({ under: 2, odd: 0 })
      const replaced = { code: 'collection-replaced' }
      expect(await endFault(store, places, 1)).toMatchObject(replaced)
      expect((await readForRemoval(store, 1, places)).lost).toMatchObject([replaced])
      await store.db.dropCollection('failing')
    },
  )

  test('whose count fails for another reason than a view are not taken for empty', async () => {
    const places = [{ name: '.not-a-name', envelopes: [field] }]
    await expect(countVersions(store, places)).rejects.toThrow()
  })

  test('keep their rows in quarantine while they are lost', async () => {
    const places = [{ name: 'gone', envelopes: [field] }]
    await createIndexes(store, places)
    const settings = { collections: places } as unknown as FleetSettings
    await writeSettings(store, { settings, by: 'test' })
    await store.db.collection('gone').insertMany([{ secret: { key: 'odd' } }])
    expect(await quarantineOdd(store, places, null)).toEqual({ odd: 1, quarantined: 1 })
    await store.db.renameCollection('gone', 'away')
    expect(await quarantineOdd(store, places, null)).toEqual({ odd: 0, quarantined: 0 })
    expect(await recheckQuarantine(store)).toBe(0)
    expect(await countQuarantine(store, null)).toBe(1)
    await store.db.renameCollection('away', 'gone')
    expect(await recheckQuarantine(store)).toBe(0)
    await store.db.collection('gone').deleteMany({})
    expect(await recheckQuarantine(store)).toBe(1)
  })
})
