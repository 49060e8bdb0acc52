import type { CreateCollectionOptions } from 'mongodb'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { openFleet, type CliEnd, type Fleet } from '../support/fleet.ts'

const two = [
  { name: 'certificates', envelopes: ['private_key'] },
  { name: 'accounts', envelopes: ['secrets.token'] },
]

let fleet: Fleet

beforeAll(async () => {
  // Setup needs no worker.
  fleet = await openFleet({ provider: 'env', nodes: [], versions: [] })
})
afterEach(async () => {
  for (const name of ['odd', ...two.map((one) => one.name)])
    await fleet.store.db.dropCollection(name)
  await fleet.must('setup')
})
afterAll(async () => {
  await fleet.close()
})

/** Runs `setup` with these collections in the file, with `--yes` unless that is turned off. */
async function setupWith(collections: object[], ...flags: string[]): Promise<CliEnd> {
  const config = await fleet.writeConfig('changed', { collections })
  return await fleet.cli('--config', config, ...flags, 'setup')
}

function refusalOf({ code, json }: CliEnd) {
  return { exit: code, code: json.error.code, message: json.error.message }
}

describe('a collection that cannot be swept', () => {
  const shapes: Record<string, CreateCollectionOptions> = {
    'is a view': { viewOn: 'accounts', pipeline: [] },
    'is a time series': { timeseries: { timeField: 'at' } },
    'is capped': { capped: true, size: 4_096 },
  }
  const odd = { name: 'odd', envelopes: ['secret'] }

  test.each(Object.entries(shapes))('is refused by setup: it %s', async (why, options) => {
    await fleet.store.db.createCollection('odd', options)
    expect(refusalOf(await setupWith([...two, odd]))).toMatchObject({
      exit: 3,
      code: 'unsupported-shape',
      message: expect.stringContaining(`collection "odd" ${why}`) as string,
    })
    const { json } = await fleet.cli('doctor')
    expect(JSON.stringify(json['checks'])).not.toContain('odd')
  })

  test.each(Object.entries(shapes))(
    'is named by doctor and status when it appears later: it %s',
    async (why, options) => {
      await fleet.store.db.dropCollection('certificates')
      await fleet.store.db.createCollection('certificates', options)
      const doctor = await fleet.cli('doctor')
      expect(doctor.code).toBe(4)
      const checks = doctor.json['checks'] as { check: string; state: string; detail: string }[]
      const told = checks.find(({ check }) => check === 'collections')
      expect(told).toMatchObject({ state: 'fail' })
      expect(told?.detail).toMatch(new RegExp(`^collection-replaced: .*certificates.* ${why}`))
      const status = await fleet.must('status')
      expect(status['lost']).toMatchObject([{ code: 'collection-replaced' }])
      expect(refusalOf(await fleet.cli('scan'))).toMatchObject({
        exit: 3,
        code: 'collection-replaced',
      })
      expect(refusalOf(await setupWith(two))).toMatchObject({ code: 'unsupported-shape' })
    },
  )

  test('ordinary collections with another collation, a clustered index or rules are accepted', async () => {
    await fleet.store.db.createCollection('odd', {
      clusteredIndex: { key: { _id: 1 }, unique: true },
      collation: { locale: 'de', strength: 2 },
      validator: { secret: { $exists: true } },
    })
    expect(await setupWith([...two, odd])).toMatchObject({
      code: 0,
      json: { settings: 'changed', changes: ['collections: + odd.secret'] },
    })
    expect(await setupWith(two)).toMatchObject({
      code: 0,
      json: { changes: ['collections: − odd.secret'] },
    })
  })
})

describe('a collection that is taken out of the file', () => {
  const without = [two[0]!]
  const records = () => fleet.store.db.collection('accounts')
  const lastChange = async () => (await fleet.must('audit', 'list')).entries.at(-1)

  test.each<[string, object]>([
    [
      '1 envelopes of v7',
      { kek_version: 7, dek_wrapped: 'x', dek_iv: 'x', format: 1, provider: 'x' },
    ],
    ['1 odd envelopes', { kek_version: 'none' }],
  ])('is refused while it holds an envelope: %s', async (held, token) => {
    await records().insertOne({ secrets: { token } })
    expect(refusalOf(await setupWith(without))).toEqual({
      exit: 3,
      code: 'collection-in-use',
      message: `"accounts.secrets.token" still holds ${held}`,
    })
    await records().deleteMany({})
    expect(await setupWith(without)).toMatchObject({
      code: 0,
      json: { settings: 'changed', changes: ['collections: − accounts.secrets.token'] },
    })
    expect(await lastChange()).toMatchObject({
      action: 'settings-changed',
      details: { changes: ['collections: − accounts.secrets.token'] },
    })
  })

  test('may be missing already, and is then no longer reported as lost', async () => {
    await fleet.store.db.dropCollection('accounts')
    expect((await fleet.must('status'))['lost']).toMatchObject([{ code: 'collection-missing' }])
    expect(await setupWith(without)).toMatchObject({ code: 0, json: { settings: 'changed' } })
    expect(await lastChange()).toMatchObject({ action: 'settings-changed' })
    expect(await fleet.must('status')).not.toHaveProperty('lost')
    expect(await fleet.store.db.listCollections({ name: 'accounts' }).toArray()).toEqual([])
  })
})
