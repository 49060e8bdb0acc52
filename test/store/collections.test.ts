import { describe, expect, it } from 'vitest'
import { lostCollections, requireCollections } from '../../store/collections.ts'
import { checkShapes } from '../../store/indexes.ts'
import { collectionUuids } from '../../store/keystore-home.ts'
import { certificates, configured, field, testStore } from './support.ts'

const store = await testStore()

describe('collections', () => {
  it('take ordinary and clustered collections, and refuse views, time series and capped ones', async () => {
    await checkShapes(store, configured)
    await store.db.createCollection('view', { viewOn: certificates, pipeline: [] })
    await store.db.createCollection('log', { capped: true, size: 4_096 })
    await store.db.createCollection('series', { timeseries: { timeField: 'at' } })
    await store.db.createCollection('clustered', {
      clusteredIndex: { key: { _id: 1 }, unique: true },
    })
    const refused: Record<string, RegExp> = {
      ...{ view: /is a view$/, log: /is capped/, series: /is a time series$/ },
    }
    for (const [name, message] of Object.entries(refused)) {
      await expect(checkShapes(store, [{ name, envelopes: [field] }])).rejects.toMatchObject({
        code: 'unsupported-shape',
        message: expect.stringMatching(message) as string,
      })
    }
    await checkShapes(store, [{ name: 'clustered', envelopes: [field] }])
  })

  it('know a recorded collection that is gone, replaced or a view now', async () => {
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
      ...['collection-missing', 'collection-missing', 'collection-replaced', 'collection-replaced'],
    ])
    await expect(requireCollections(store, recorded)).rejects.toMatchObject({
      ...{ code: 'collection-missing', message: "collection 'renamed' is missing" },
    })
  })
})
