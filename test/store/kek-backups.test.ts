import { beforeEach, expect, test } from 'vitest'
import { insertFirstActive } from '../../store/kek-active.ts'
import { dropBackup, markBackup, readBackups } from '../../store/kek-backups.ts'
import { readVersion, readVersions } from '../../store/kek-versions.ts'
import {
  destroyVersion,
  raiseGuardRun,
  requestRemoval,
  setFenced,
} from '../../store/version-removal.ts'
import { chainedAudit } from '../support/chained-audit.ts'
import { askRemoval, free, installVersion, testStore } from './support.ts'

const store = await testStore()
for (const version of [1, 2]) await installVersion(store, version)
await insertFirstActive(store, 1)
const versions = store.db.collection<{ _id: number }>('kek_versions')
const taken_at = new Date('2026-03-01T03:00:00Z')
const backup = { _id: 'nightly', taken_at, keep_until: null, marked_by: 'ann' }

beforeEach(async () => {
  await dropBackup(store, 'nightly', 'ann')
})

test('a backup that is marked after the last look stops the destruction', async () => {
  const request = await askRemoval(store, 2)
  expect(await requestRemoval(store, request, 0, 'vm-a', free)).toBe(true)
  expect(await setFenced(store, 2, request)).toBe(true)
  const run = (await raiseGuardRun(store, 2, request)) ?? 0
  await markBackup(store, backup)
  expect(await destroyVersion(store, 2, request, run, 'vm-a', free)).toBe(false)
  expect(await readVersion(store, 2)).toMatchObject({ destroyed_at: null, removal: { request } })
  // A look that has read it decides.
  const next = (await raiseGuardRun(store, 2, request)) ?? 0
  expect(await destroyVersion(store, 2, request, next, 'vm-a', free)).toBe(true)
})

test('a backup is marked once, and the same again tells nothing', async () => {
  const marked = async () => {
    const entries = await chainedAudit(store)
    return entries.filter(({ action }) => action === 'backup-marked').length
  }
  const before = await marked()
  await Promise.all([1, 2, 3].map(() => markBackup(store, backup)))
  expect(await readBackups(store)).toMatchObject([backup])
  expect(await marked()).toBe(before + 1)
  const other = { ...backup, keep_until: new Date() }
  await expect(markBackup(store, other)).rejects.toMatchObject({ code: 'usage' })
})

test('a row of an older build has no periods, and is read', async () => {
  await versions.updateOne({ _id: 1 }, { $unset: { periods: '' } })
  expect((await readVersion(store, 1))?.periods).toBeUndefined()
  expect((await readVersions(store)).map(({ _id }) => _id)).toEqual([1, 2])
})
