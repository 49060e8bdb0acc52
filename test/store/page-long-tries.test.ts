import { expect, onTestFinished, test, vi } from 'vitest'
import { commitPage } from '../../store/page-transaction.ts'
import { readRange } from '../../store/rewrap-ranges.ts'
import { certificates, fill, page, pageInput, startSweep, testStore } from './support.ts'

test('a page whose tries take long is halved: only the one envelope fails', async () => {
  const store = await testStore()
  await fill(
    store,
    Array.from({ length: 40 }, (_, n) => `r${String(n).padStart(3, '0')}`),
  )
  const sweep = await startSweep(store)
  const { entries } = await page(store, null, 1000)
  const records = store.db.collection<{ _id: string }>(certificates)
  const app = store.client.startSession()
  app.startTransaction()
  await records.updateOne({ _id: 'r020' }, { $set: { name: 'app' } }, { session: app })
  let minutes = 0
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => (minutes += 2) * 60_000)
  onTestFinished(() => {
    clock.mockRestore()
  })
  const committed = commitPage(store, sweep.taken.session, pageInput(sweep, entries))
  await expect(committed).rejects.toThrow(/conflict/i)
  expect(await records.countDocuments({ 'secret.key.kek_version': 2 })).toBe(20)
  expect((await readRange(store, sweep))?.cursor).toEqual({ v: 'r019' })
  await app.abortTransaction()
  await app.endSession()
})
