import { Decimal128 } from 'mongodb'
import { beforeEach, expect, test } from 'vitest'
import { readNewestUses, readUses, recordUses } from '../../store/kek-uses.ts'
import { testStore } from './support.ts'

const store = await testStore()
const rows = store.db.collection<{ _id: object }>('kek_uses')
const own = { node: 'vm-a', boot: 'b1', pid: 7, role: 'app' as const }
const place = { collection: 'certificates', field: '$key' }

beforeEach(async () => {
  await rows.deleteMany({})
})

test('uses are summed in one document for each process and place, by the database’s clock', async () => {
  await recordUses(store, own, 1, [
    { ...place, count: 2 },
    { ...place, field: 'other', count: 1 },
  ])
  await recordUses(store, { ...own, boot: 'b2' }, 1, [{ ...place, count: 1 }])
  await recordUses(store, own, 1, [{ ...place, count: 3 }])
  await recordUses(store, own, 2, [{ ...place, count: 9 }])
  const { uses, malformed } = await readUses(store, 1)
  expect(malformed).toEqual([])
  expect(uses.map(({ _id, count }) => [_id.process, _id.field, count])).toEqual([
    ['b1', '$key', 5],
    ['b2', '$key', 1],
    ['b1', 'other', 1],
  ])
  const [newest] = uses
  expect(newest).toMatchObject({ pid: 7, role: 'app' })
  expect(newest!.last_at.getTime()).toBeGreaterThanOrEqual(newest!.first_at.getTime())
  expect((await readNewestUses(store)).map(({ count }) => count)).toEqual([9, 5, 1, 1])
})

const id = { version: 1, node: 'x', process: 'b', collection: 'c', field: 'f' }
const row = { pid: 1, role: 'app', count: 1, first_at: new Date(), last_at: new Date() }
test.each<[string, object]>([
  ['text as its time', { _id: id, ...row, last_at: 'now' }],
  ['no time', { _id: id, ...row, last_at: null }],
  ['a pattern as its time, which sorts first', { _id: id, ...row, last_at: /now/ }],
  ['an unknown role', { _id: id, ...row, role: 'robot' }],
  ['a decimal count', { _id: id, ...row, count: Decimal128.fromString('1') }],
  ['no process', { _id: { ...id, process: undefined }, ...row }],
  ['a further member in its id', { _id: { ...id, more: 1 }, ...row }],
  ['text as its version', { _id: { ...id, version: '1' }, ...row }],
  ['text as its id', { _id: 'one', ...row }],
])('a document with %s is malformed, and counts for the version', async (_title, document) => {
  await rows.insertOne(document as never, { ignoreUndefined: true })
  await recordUses(store, own, 1, [{ ...place, count: 1 }])
  const { uses, malformed } = await readUses(store, 1)
  expect(malformed).toHaveLength(1)
  expect(uses).toHaveLength(1)
})

test('a malformed document of another version does not count', async () => {
  await rows.insertOne({ _id: { ...id, version: 2 }, ...row, last_at: 'now' } as never)
  expect(await readUses(store, 1)).toEqual({ uses: [], malformed: [] })
})
