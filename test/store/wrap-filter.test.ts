import { expect, test } from 'vitest'
import { hasWrap } from '../../store/wrap-filter.ts'
import { kindsOfIds } from './kinds-of-ids.ts'
import { allEntries, certificates, fill, layout, testStore, wrappedOf } from './support.ts'

const store = await testStore()
const place = { collection: certificates, layout }

/** MongoDB takes no other `_id` with a name that begins with `$`. */
const reference = new Map<string, unknown>([
  ['$ref', 'other'],
  ['$id', 1],
])

test('the filter of an update finds a record by any kind of _id while its wrap is unchanged', async () => {
  const ids = [...kindsOfIds(1), reference]
  await fill(store, ids)
  const entries = await allEntries(store, 100)
  expect(entries).toHaveLength(ids.length)
  for (const entry of entries) {
    const found = { id: entry.id, version: 1, wrapped: wrappedOf(entry) }
    expect(await hasWrap(store, place, found)).toBe(true)
    expect(await hasWrap(store, place, { ...found, version: 2 })).toBe(false)
    expect(await hasWrap(store, place, { ...found, wrapped: Buffer.alloc(48) })).toBe(false)
  }
})
