import { expect, test } from 'vitest'
import { commitPage } from '../../store/page-transaction.ts'
import { listQuarantine } from '../../store/rewrap-quarantine.ts'
import { certificates, fill, page, pageInput, startSweep, testStore } from './support.ts'

test('a page ends when an array has come onto the path of an envelope since it was read', async () => {
  const store = await testStore()
  const records = store.db.collection<{ _id: string }>(certificates)
  await fill(store, ['r1', 'r2', 'r3'])
  const sweep = await startSweep(store)
  const { entries } = await page(store, null, 1000)
  const filter = { _id: 'r2' }
  const old = await records.findOne<{ secret: object }>(filter)
  await records.updateOne(filter, { $set: { secret: [old?.secret] } })
  const before = await records.findOne(filter, { raw: true })
  const result = await commitPage(store, sweep.taken.session, pageInput(sweep, entries))
  expect(result).toMatchObject({ kind: 'committed', rewrapped: 2, quarantined: 1 })
  expect(await records.findOne(filter, { raw: true })).toEqual(before)
  const rows = await listQuarantine(store)
  expect(rows.filter(({ rotation }) => rotation === sweep.rotation)).toMatchObject([
    { _id: { id: 'r2' }, code: 'write-refused' },
  ])
})
