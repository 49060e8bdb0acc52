import { beforeEach, describe, expect, test } from 'vitest'
import { hasFence, lowerFence, raiseFence, requireNoFence } from '../../store/fence.ts'
import { certificates, envelope, field, record, testStore } from './support.ts'

const store = await testStore()
const records = store.db.collection<{ _id: string }>(certificates)
const fence = { collection: certificates, fields: [field], version: 1 }

beforeEach(async () => {
  await store.db.dropCollection(certificates)
  await store.db.createCollection(certificates)
  await records.insertMany([record('old', 1), record('new', 2)] as never[])
})

async function options(): Promise<Record<string, unknown>> {
  const [info] = await store.db.listCollections({ name: certificates }).toArray()
  return (info as { options: Record<string, unknown> }).options
}

const refused = { code: 121 }

describe('the fence of a removal', () => {
  test('is raised once, holds, and is lowered without a trace', async () => {
    expect(await hasFence(store, fence)).toBe(false)
    await raiseFence(store, fence)
    await raiseFence(store, fence)
    expect(await options()).toEqual({
      validator: { $and: [{ 'secret.key.kek_version': { $ne: 1 } }] },
      validationLevel: 'moderate',
      validationAction: 'error',
    })
    expect(await hasFence(store, fence)).toBe(true)
    await lowerFence(store, fence)
    await lowerFence(store, fence)
    expect((await options())['validator']).toBeUndefined()
    await records.insertOne(record('later', 1) as never)
  })

  test('refuses inserts, updates, replacements, bulks and transactions that name the version', async () => {
    await raiseFence(store, fence)
    await expect(records.insertOne(record('x', 1) as never)).rejects.toMatchObject(refused)
    const set = { $set: { 'secret.key': envelope(1) } } as never
    await expect(records.updateOne({ _id: 'new' }, set)).rejects.toMatchObject(refused)
    const old = record('new', 1)
    await expect(records.replaceOne({ _id: 'new' }, old as never)).rejects.toMatchObject(refused)
    await expect(
      records.bulkWrite([{ replaceOne: { filter: { _id: 'new' }, replacement: old as never } }]),
    ).rejects.toMatchObject(refused)
    const inside = store.client.withSession((session) =>
      session.withTransaction(() => records.insertOne(record('y', 1) as never, { session })),
    )
    await expect(inside).rejects.toMatchObject(refused)
  })

  test('lets through other versions, other fields and records in quarantine', async () => {
    await raiseFence(store, fence)
    await records.insertOne(record('x', 2) as never)
    await records.insertOne({ _id: 'bare' })
    await records.updateOne({ _id: 'old' }, { $set: { name: 'edited' } })
    await records.updateOne({ _id: 'old' }, { $set: { 'secret.key': envelope(2) } })
  })

  test('is added to an existing validator, which stays in force, and is removed exactly', async () => {
    const rules = {
      validator: { $jsonSchema: { required: ['name'] }, $and: [{ name: { $ne: 'bad' } }] },
      validationLevel: 'strict',
      validationAction: 'error',
    }
    await store.db.command({ collMod: certificates, ...rules })
    await raiseFence(store, fence)
    expect(await options()).toEqual({
      ...rules,
      validator: { $and: [rules.validator, { 'secret.key.kek_version': { $ne: 1 } }] },
    })
    await expect(records.insertOne({ _id: 'nameless' })).rejects.toMatchObject(refused)
    await expect(records.insertOne(record('x', 1) as never)).rejects.toMatchObject(refused)
    await lowerFence(store, fence)
    expect(await options()).toEqual(rules)
  })

  test('sets level moderate where a validator had none, and takes it back', async () => {
    const validator = { name: { $exists: true } }
    await store.db.dropCollection(certificates)
    await store.db.createCollection(certificates, { validator })
    await records.insertOne(record('old', 1) as never)
    await raiseFence(store, fence)
    expect(await options()).toMatchObject({ validationLevel: 'moderate' })
    await records.updateOne({ _id: 'old' }, { $set: { name: 'edited' } })
    await lowerFence(store, fence)
    expect(await options()).toEqual({
      validator,
      validationLevel: 'strict',
      validationAction: 'error',
    })
  })

  test('of one version is independent of those of other versions and fields', async () => {
    const both = { ...fence, fields: [field, 'other'] }
    const next = { ...fence, version: 2 }
    await raiseFence(store, both)
    await raiseFence(store, next)
    expect([await hasFence(store, both), await hasFence(store, next)]).toEqual([true, true])
    expect(await hasFence(store, { ...fence, version: 3 })).toBe(false)
    await expect(
      records.insertOne({ _id: 'o', other: { kek_version: 1 } } as never),
    ).rejects.toMatchObject(refused)
    await lowerFence(store, both)
    expect([await hasFence(store, fence), await hasFence(store, next)]).toEqual([false, true])
    expect(await options()).toMatchObject({ validationLevel: 'moderate' })
    await expect(records.insertOne(record('x', 2) as never)).rejects.toMatchObject(refused)
    await lowerFence(store, next)
    expect((await options())['validator']).toBeUndefined()
  })

  test.each([{ validationAction: 'warn' }, { validationLevel: 'off' }])(
    'is refused as no-fence when %o would make it ineffective',
    async (lax) => {
      await store.db.command({ collMod: certificates, validator: { name: 'x' }, ...lax })
      await expect(raiseFence(store, fence)).rejects.toMatchObject({ code: 'no-fence' })
      expect(await hasFence(store, fence)).toBe(false)
    },
  )

  test('creates no missing collection', async () => {
    const nowhere = { ...fence, collection: 'not-there' }
    await expect(raiseFence(store, nowhere)).rejects.toMatchObject({ code: 'collection-missing' })
    await lowerFence(store, nowhere)
    expect(await store.db.listCollections({ name: 'not-there' }).toArray()).toEqual([])
  })

  const ne = { 'secret.key.kek_version': { $ne: 1 } }
  test.each([
    ['flattened', { ...ne, name: { $ne: 'bad' } }, { name: { $ne: 'bad' } }],
    [
      'beside a schema',
      { $and: [ne], $jsonSchema: { required: ['name'] } },
      { $jsonSchema: { required: ['name'] } },
    ],
    [
      'deeper',
      { $and: [{ $and: [ne, { name: 'x' }] }, { a: 1 }] },
      { $and: [{ name: 'x' }, { a: 1 }] },
    ],
    ['with $nor', { $nor: [{ 'secret.key.kek_version': 1 }, { a: 2 }] }, { $nor: [{ a: 2 }] }],
    [
      'with $nin',
      { 'secret.key.kek_version': { $nin: [1, 9] } },
      { 'secret.key.kek_version': { $nin: [9] } },
    ],
    ['with $not', { 'secret.key.kek_version': { $not: { $eq: 1 } }, a: 1 }, { a: 1 }],
  ])(
    'is removed from a validator that an administrator has rewritten: %s',
    async (_title, validator, left) => {
      await store.db.command({ collMod: certificates, validator })
      expect(await hasFence(store, fence)).toBe(true)
      await expect(requireNoFence(store, fence)).rejects.toMatchObject({ code: 'fence-left' })
      await lowerFence(store, fence)
      expect((await options())['validator']).toEqual(left)
    },
  )

  test.each([
    [
      {
        $jsonSchema: {
          properties: {
            secret: { properties: { key: { properties: { kek_version: { minimum: 2 } } } } },
          },
        },
      },
    ],
    [{ $expr: { $ne: ['$secret.key.kek_version', 1] } }],
    [{ $or: [ne, { 'secret.key.provider': 'none' }] }],
  ])('is recognised and reported when written differently: %o', async (validator) => {
    await records.insertOne(record('bare', 2) as never)
    await store.db.command({ collMod: certificates, validator })
    await expect(requireNoFence(store, fence)).rejects.toMatchObject({
      code: 'fence-left',
      hint: expect.stringContaining('--undo') as string,
    })
    // What keeps another version out is no fence of this one.
    await requireNoFence(store, { ...fence, version: 2 })
    await raiseFence(store, { ...fence, fields: ['other'] })
    await expect(lowerFence(store, { ...fence, fields: ['other', field] })).rejects.toMatchObject({
      code: 'fence-left',
    })
  })

  test('waits half a second for an open transaction, and delays writes no longer', async () => {
    await store.client.withSession(async (session) => {
      session.startTransaction()
      await records.updateOne({ _id: 'new' }, { $set: { name: 'held' } }, { session })
      const raising = raiseFence(store, fence)
      const beganMs = performance.now()
      await records.insertOne(record('beside', 2) as never)
      expect(performance.now() - beganMs).toBeLessThan(30_000)
      expect(await raising).toBe('busy')
      expect(await hasFence(store, fence)).toBe(false)
      await session.commitTransaction()
    })
    expect(await raiseFence(store, fence)).toBe('done')
    expect(await hasFence(store, fence)).toBe(true)
  })

  test('does not stop writes that bypass validation', async () => {
    await raiseFence(store, fence)
    await records.insertOne(record('bypassed', 1) as never, { bypassDocumentValidation: true })
    expect(await records.countDocuments({ 'secret.key.kek_version': 1 })).toBe(2)
  })
})
