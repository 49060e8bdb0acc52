import { Binary } from 'mongodb'
import { beforeEach, describe, expect, test } from 'vitest'
import { countVersion, countVersions, leftOf, remainingOf } from '../../store/census.ts'
import { commitPage } from '../../store/page-transaction.ts'
import {
  clearQuarantine,
  countQuarantine,
  listQuarantine,
  recheckQuarantine,
} from '../../store/rewrap-quarantine.ts'
import { kindsOfIds } from './kinds-of-ids.ts'
import {
  accuse,
  allEntries,
  certificates,
  configured,
  envelope,
  fill,
  pageInput,
  record,
  startSweep,
  testStore,
} from './support.ts'

const store = await testStore()
const records = store.db.collection(certificates)
const ids = kindsOfIds(3)

/** Accuses every envelope of version 1. */
async function accuseAll(code?: string): Promise<void> {
  const sweep = await startSweep(store)
  const entries = await allEntries(store, 1000)
  const quarantine = entries.map((entry) => accuse(entry, code))
  const input = pageInput(sweep, entries, { updates: [], quarantine })
  await commitPage(store, sweep.taken.session, input)
}

beforeEach(async () => {
  await store.db.collection('rewrap_quarantine').deleteMany({})
  await fill(store, ids)
})

describe('the census', () => {
  test('counts by version and field, quarantined or not', async () => {
    await records.insertMany([record('two', 2), record('also two', 2), { _id: 'none' }] as never[])
    await records.insertOne({ _id: 'odd', secret: { key: { kek_version: 'one' } } } as never)
    await accuseAll()
    expect(await countVersions(store, configured)).toEqual({
      byVersion: { 1: ids.length, 2: 2 },
      byField: [
        { collection: certificates, field: 'secret.key', version: 1, envelopes: ids.length },
        { collection: certificates, field: 'secret.key', version: 2, envelopes: 2 },
      ],
      odd: 1,
      oddByField: [{ collection: certificates, field: 'secret.key', envelopes: 1 }],
    })
    expect(await countVersion(store, configured, 2)).toBe(2)
    expect(await leftOf(store, configured, 1)).toEqual({ under: 0, odd: 1 })
    expect(await leftOf(store, configured, 2)).toEqual({ under: 2, odd: 1 })
  })

  test('leaves out exactly the bytes that are in quarantine, and counts a restored copy', async () => {
    await accuseAll()
    const some = ids.slice(0, 5)
    for (const id of some) {
      await records.updateOne({ _id: { $eq: id } } as never, {
        $set: { 'secret.key': envelope(1) },
      })
    }
    expect(await remainingOf(store, configured, 1)).toBe(5)
    expect(await recheckQuarantine(store, 1)).toBe(5)
    expect(await countQuarantine(store, 1)).toBe(ids.length - 5)
    expect(await remainingOf(store, configured, 1)).toBe(5)
  })

  test('does not count rows of fields that are not configured', async () => {
    await accuseAll()
    expect(await remainingOf(store, [{ name: 'others', envelopes: ['x'] }], 1)).toBe(0)
    expect(await remainingOf(store, [], 1)).toBe(0)
  })
})

describe('quarantine', () => {
  test.each(['envelope-unreadable', 'id-unsupported'])(
    'is cleared of envelopes that were repaired, rewritten or deleted, with any _id (%s)',
    async (code) => {
      await accuseAll(code)
      expect(await countQuarantine(store)).toBe(ids.length)
      expect(await recheckQuarantine(store)).toBe(0)
      expect(await remainingOf(store, configured, 1)).toBe(0)
      const [repaired, rewritten, deleted, emptied] = ids
      await records.updateOne({ _id: { $eq: repaired } } as never, {
        $set: { 'secret.key.dek_iv': new Binary(Buffer.alloc(12)) },
      })
      await records.updateOne({ _id: { $eq: rewritten } } as never, {
        $set: { 'secret.key': envelope(2) },
      })
      await records.deleteOne({ _id: { $eq: deleted } } as never)
      await records.updateOne({ _id: { $eq: emptied } } as never, { $unset: { secret: 1 } })
      expect(await recheckQuarantine(store)).toBe(4)
      expect(await countQuarantine(store)).toBe(ids.length - 4)
      expect(await remainingOf(store, configured, 1)).toBe(1)
    },
  )

  test('lists each row with an _id that can be used to release it', async () => {
    await accuseAll()
    const rows = await listQuarantine(store, 1)
    expect(rows).toHaveLength(ids.length)
    expect(rows[0]).toMatchObject({
      kek_version: 1,
      code: 'envelope-unreadable',
      attempts: 1,
      first_seen: expect.any(Date) as Date,
    })
    for (const { _id } of rows) expect(await clearQuarantine(store, _id)).toBe(true)
    expect(await countQuarantine(store)).toBe(0)
    expect(await clearQuarantine(store, rows[0]!._id)).toBe(false)
    expect(await countVersion(store, configured, 1)).toBe(ids.length)
  })
})
