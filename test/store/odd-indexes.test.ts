import { MongoClient, type Document } from 'mongodb'
import { afterAll, describe, expect, inject, test } from 'vitest'
import type { KeyturnError } from '../../contracts/errors.ts'
import { countVersions } from '../../store/census.ts'
import { readPage } from '../../store/envelope-pages.ts'
import { faultOf, indexFaults, listIndexes, wantedIndexes } from '../../store/index-faults.ts'
import { createIndexes } from '../../store/indexes.ts'
import { oddIndex } from '../../store/presence.ts'
import { configured, field, layout, record, testStore } from './support.ts'

const store = await testStore()
const client = await MongoClient.connect(inject('mongoUri'))
const db = client.db(store.db.databaseName)
afterAll(async () => client.close())

const key = { [`${field}.kek_version`]: 1, _id: 1 } as const
const ours = `${field}.kek_version_1__id_1`
const odd = oddIndex(layout)

/** A collection and its indexes, made before `setup`, with records of two versions and an odd one. */
async function made(name: string, indexes: Document[], options: Document = {}): Promise<void> {
  await db.createCollection(name, options)
  if (indexes.length > 0) {
    await db.command({ createIndexes: name, indexes })
  }
  await db
    .collection(name)
    .insertMany([
      ...['a', 'B', 'c'].map((id) => record(id, 1)),
      { _id: 'd', secret: { key: { kek_version: 'none' } } },
    ] as never[])
}

const place = (name: string) => [{ name, envelopes: [field] }]
const namesOf = async (name: string) =>
  (await listIndexes(store, name)).map((index) => index.name).sort()

async function expectServed(name: string): Promise<void> {
  expect(await indexFaults(store, place(name))).toEqual([])
  const page = await readPage(store, {
    collection: name,
    layout,
    version: 1,
    after: null,
    until: null,
    limit: 10,
  })
  expect(page.entries.map(({ id }) => id)).toEqual(['B', 'a', 'c'])
  const census = await countVersions(store, place(name))
  expect(census.oddByField).toMatchObject([{ envelopes: 1 }])
}

async function refused(name: string): Promise<KeyturnError> {
  const error = await createIndexes(store, place(name)).then(
    () => null,
    (thrown: unknown) => thrown as KeyturnError,
  )
  expect(error).toMatchObject({ code: 'index-missing', exitCode: 3 })
  expect(error?.message).not.toMatch(/\n|\.$|^[A-Z]/)
  // Preflight and doctor report the same.
  const faults = await indexFaults(store, place(name))
  expect(faults.map(({ why }) => why).join('; ')).toBe(error?.message)
  return error as KeyturnError
}

describe('setup uses', () => {
  test.each([
    ['ours under another name', [{ key, name: 'mine' }]],
    ['a unique one', [{ key, name: 'mine', unique: true }]],
    ['one of its own collation', [{ key, name: 'mine', collation: { locale: 'simple' } }]],
  ])('%s, and creates no second one', async (title, indexes) => {
    const name = title.replaceAll(' ', '_')
    await made(name, indexes)
    await createIndexes(store, place(name))
    expect(await namesOf(name)).toEqual(['_id_', odd.name, 'mine'])
    await expectServed(name)
  })

  test('the index of odd envelopes under another name', async () => {
    await made('odd_renamed', [{ ...odd, name: 'strange' }])
    await createIndexes(store, place('odd_renamed'))
    expect(await namesOf('odd_renamed')).toEqual(['_id_', ours, 'strange'])
    await expectServed('odd_renamed')
  })

  test.each<[string, Document[], Document]>([
    ['a sparse one', [{ key, name: 'theirs', sparse: true }], {}],
    ['a partial one', [{ key, name: 'theirs', partialFilterExpression: { name: 'x' } }], {}],
    ['one with a collation', [{ key, name: 'theirs', collation: { locale: 'de' } }], {}],
    ['one that inherits a collation', [{ key, name: 'theirs' }], { collation: { locale: 'de' } }],
    [
      'one in the wrong order',
      [{ key: { _id: 1, [`${field}.kek_version`]: 1 }, name: 'theirs' }],
      {},
    ],
    [
      'one that goes down',
      [{ key: { [`${field}.kek_version`]: -1, _id: -1 }, name: 'theirs' }],
      {},
    ],
    [
      'several that do not serve',
      [
        { key, name: 'theirs', sparse: true },
        { key, name: 'others', collation: { locale: 'de' } },
      ],
      {},
    ],
  ])('its own index beside %s', async (title, indexes, options) => {
    const name = title.replaceAll(' ', '_')
    await made(name, indexes, options)
    expect((await indexFaults(store, place(name))).map(({ hint }) => hint)).toEqual([
      'run: keyturn setup',
      'run: keyturn setup',
    ])
    await createIndexes(store, place(name))
    await createIndexes(store, place(name))
    expect(await namesOf(name)).toEqual(
      ['_id_', odd.name, ours, ...indexes.map((index) => index['name'] as string)].sort(),
    )
    await expectServed(name)
  })
})

describe('setup names the index that conflicts with its own, and what to do', () => {
  const hint = (drop: string, name: string) =>
    `drop it: db.getCollection("${name}").dropIndex("${drop}"), then run: keyturn setup`

  test.each<[string, Document, Document, RegExp]>([
    ['sparse', { sparse: true }, {}, /does not serve: it is sparse$/],
    [
      'partial',
      { partialFilterExpression: { name: 'x' } },
      {},
      /does not serve: it covers other records$/,
    ],
    ['collated', { collation: { locale: 'de' } }, {}, /has the collation "de"$/],
    ['inherited', {}, { collation: { locale: 'fr' } }, /has the collation "fr"$/],
    ['other_key', { key: { name: 1 } }, {}, /has the key \{"name":1\}$/],
  ])('%s, under our name', async (name, index, options, message) => {
    await made(name, [{ key, name: ours, ...index }], options)
    const error = await refused(name)
    expect(error.message).toMatch(message)
    expect(error.hint).toBe(hint(ours, name))
    await db.collection(name).dropIndex(ours)
    await createIndexes(store, place(name))
    await expectServed(name)
  })

  test.each(['mine', ours])('hidden, as %s', async (called) => {
    const name = called === ours ? 'hidden_ours' : 'hidden_mine'
    await made(name, [{ key, name: called, hidden: true }])
    const error = await refused(name)
    expect(error.message).toBe(`index "${called}" on "${name}" is hidden`)
    const shown = { name: called, hidden: false }
    expect(error.hint).toBe(
      `show it: db.runCommand({ collMod: "${name}", index: { name: "${called}", hidden: false } })`,
    )
    await db.command({ collMod: name, index: shown })
    await createIndexes(store, place(name))
    await expectServed(name)
  })

  test('the index of odd envelopes, hidden or with another filter', async () => {
    await made('odd_hidden', [{ ...odd, hidden: true }])
    expect((await refused('odd_hidden')).message).toMatch(/keyturn_odd_\w+" on .* is hidden$/)
    await made('odd_other', [{ ...odd, partialFilterExpression: { name: 'x' } }])
    const error = await refused('odd_other')
    expect(error.message).toMatch(/it covers other records$/)
    expect(error.hint).toBe(hint(odd.name, 'odd_other'))
  })

  test('a collection that already has the maximum number of indexes', async () => {
    const others = Array.from({ length: 63 }, (_, index) => ({
      key: { [`f${index}`]: 1 },
      name: `f${index}`,
    }))
    await made('full', others)
    const error = await refused('full')
    expect(error.message).toMatch(
      /^"full" lacks the index .* has 64 indexes, as many as mongodb allows/,
    )
    expect(error.hint).toMatch(/^drop one that is not needed: db\.getCollection\("full"\)/)
  })

  test('an index of a keystore collection', async () => {
    const heartbeats = db.collection('process_heartbeats')
    const [found] = (await heartbeats.indexes()).filter(
      ({ expireAfterSeconds }) => expireAfterSeconds === 0,
    )
    await heartbeats.dropIndex(found!.name!)
    await heartbeats.createIndex({ expires_at: 1 }, { name: 'theirs' }, {})
    await expect(createIndexes(store, configured)).rejects.toMatchObject({
      code: 'index-missing',
      hint: expect.stringContaining('dropIndex("theirs")') as string,
    })
    await heartbeats.dropIndex('theirs')
    await createIndexes(store, configured)
  })
})

test('a running process looks up an index again after it was dropped or renamed', async () => {
  await made('moved', [])
  await createIndexes(store, place('moved'))
  await expectServed('moved')
  await db.collection('moved').dropIndex(ours)
  await db.collection('moved').createIndex(key, { name: 'elsewhere' }, {})
  const read = () =>
    readPage(store, {
      collection: 'moved',
      layout,
      version: 1,
      after: null,
      until: null,
      limit: 10,
    })
  expect((await read()).entries).toHaveLength(3)
  await db.collection('moved').dropIndex('elsewhere')
  await expect(read()).rejects.toMatchObject({ code: 'index-missing' })
})

test('an index that is still being built is not used', () => {
  const { version } = wantedIndexes(layout)
  const building = { name: 'mine', spec: { key, name: 'mine' }, isBuilding: true }
  expect(faultOf([building], version, { collection: 'c', field })).toEqual({
    place: `c.${field}`,
    why: 'index "mine" on "c" is still being built',
    hint: 'wait for it: db.currentOp() shows how far it is; a member that is down may hold it up',
    isInTheWay: false,
    isBuilding: true,
  })
  const served = { ...building, name: ours, spec: { key, name: ours }, isBuilding: false }
  expect(faultOf([building, served], version, { collection: 'c', field })).toBeNull()
})
