import { MinKey, MongoServerError, UUID, type Db, type MongoClient } from 'mongodb'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { splitPoints } from '../../store/census.ts'
import { ownerBounds } from '../../store/chunk-bounds.ts'
import type { Store } from '../../store/store.ts'
import { certificates, fill, layout, testStore } from './support.ts'

/*
 * A sharded cluster is imitated: nothing that can be installed here contains a mongos. A replica set stands
 * for one, and a database of the test for `config`, with rows as MongoDB's manual describes them.
 */
const store = await testStore()
const config = store.client.db(`${store.db.databaseName}_config`)
const uuid = new UUID().toBinary()
const ns = `${store.db.databaseName}.${certificates}`
const name = (n: number) => `r${String(n).padStart(4, '0')}`

afterAll(() => config.dropDatabase())

/** Cast, since a whole client cannot be imitated: all that is asked of it here is its `config`. */
function router(configDb: Db = config): Store {
  const client = { db: () => configDb } as unknown as MongoClient
  return { ...store, isRouter: true, client }
}

async function range(key: object, chunks: readonly (readonly [unknown, string])[]) {
  await config.dropDatabase()
  await config.collection<{ _id: string }>('collections').insertOne({ _id: ns, key, uuid } as never)
  await config
    .collection('chunks')
    .insertMany(chunks.map(([min, owner]) => ({ uuid, min: { _id: min }, shard: owner })))
}

const chunks = [
  [name(900), 'a'],
  [new MinKey(), 'a'],
  [name(300), 'a'],
  [name(500), 'b'],
  [name(700), 'b'],
] as const

describe('on a sharded cluster', () => {
  beforeEach(async () => {
    await range({ _id: 1 }, chunks)
    await fill(
      store,
      Array.from({ length: 1_000 }, (_, n) => name(n)),
    )
  })
  const bounds = () => ownerBounds(router(), certificates)

  test('ranges end where the chunks of another shard begin, and are cut further in equal steps', async () => {
    expect(await bounds()).toEqual([{ v: name(500) }, { v: name(900) }])
    const cut = await splitPoints(router(), {
      collection: certificates,
      layout,
      version: 1,
      ranges: 4,
    })
    expect(cut).toEqual([250, 500, 750, 900].map((n) => ({ v: name(n) })))
  })

  test('a shard without such envelopes gets no range', async () => {
    await store.db
      .collection<{ _id: string }>(certificates)
      .deleteMany({ _id: { $gte: name(500), $lt: name(900) } })
    const cut = await splitPoints(router(), {
      collection: certificates,
      layout,
      version: 1,
      ranges: 2,
    })
    expect(cut).toEqual([300, 900].map((n) => ({ v: name(n) })))
  })

  test('a collection that is not sharded by ranges of _id is cut in equal steps alone', async () => {
    for (const key of [{ _id: 'hashed' }, { tenant: 1 }, { tenant: 1, _id: 1 }]) {
      await range(key, chunks)
      expect(await bounds()).toEqual([])
    }
    await config.dropDatabase()
    expect(await bounds()).toEqual([])
  })

  test('bounds are ignored when chunks alternate between shards more often than the limit', async () => {
    await range(
      { _id: 1 },
      Array.from({ length: 70 }, (_, n) => [name(n), n % 2 === 0 ? 'a' : 'b'] as const),
    )
    expect(await bounds()).toEqual([])
  })

  test('a user who may not read config gets equal steps too', async () => {
    // A server that refuses: the test's own has no users.
    const forbidden = {
      collection: () => ({
        findOne: () => Promise.reject(new MongoServerError({ code: 13, errmsg: 'not authorized' })),
      }),
    } as unknown as Db
    expect(await ownerBounds(router(forbidden), certificates)).toEqual([])
  })
})

test('a replica set has no chunks', async () => {
  expect(await ownerBounds(store, certificates)).toEqual([])
})
