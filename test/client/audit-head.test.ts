import { expect, test } from 'vitest'
import { headOrNote } from '../../client/audit/head.ts'
import { collections } from '../../contracts/names.ts'
import { testStore } from '../store/support.ts'

test('the head of the audit that cannot be read after a rotation is a warning, not an error', async () => {
  const store = await testStore()
  const notes: string[] = []
  const note = (line: string) => void notes.push(line)
  expect(await headOrNote(store, 'id', note)).toMatchObject({ entries: 0 })
  expect(notes).toEqual([])
  const { db } = store
  await db.collection<{ _id: number; zero: number }>('numbers').insertOne({ _id: 1, zero: 0 })
  await db.collection(collections.audit).drop()
  const pipeline = [{ $match: { $expr: { $divide: [1, '$zero'] } } }]
  await db.createCollection(collections.audit, { viewOn: 'numbers', pipeline })
  expect(await headOrNote(store, 'id', note)).toBeNull()
  expect(notes).toEqual([
    expect.stringMatching(/^warning: the head of the audit was not read: .*zero/),
  ])
})
