import { expect, test } from 'vitest'
import { fenceOn, hasFence, raiseFence } from '../../store/fence.ts'
import { insertFirstActive } from '../../store/kek-active.ts'
import { insertInstall, readInstall } from '../../store/kek-install.ts'
import { hasTask, insertTask } from '../../store/kek-tasks.ts'
import { insertIntent, readVersion } from '../../store/kek-versions.ts'
import { markRotation } from '../../store/rotation-marks.ts'
import { requestRemoval } from '../../store/version-removal.ts'
import { readHome } from '../../store/keystore-home.ts'
import { declareCopy, declareMoved, declareRestored } from '../../store/keystore-relocation.ts'
import { currentRemoval } from '../../store/removal-requests.ts'
import { readRotation, runningRotation } from '../../store/rotations.ts'
import {
  askRemoval,
  configured,
  fill,
  free,
  installVersion,
  startRotation,
  testStore,
} from './support.ts'

/** A dump that was taken in the middle of everything: a rotation, two removals, an installation. */
async function midway() {
  const store = await testStore()
  const row = await insertInstall(store, { name: 'test', created_by: 'alice' })
  await fill(store, [1, 2, 3])
  for (const version of [1, 2, 3, 4]) await installVersion(store, version)
  await insertFirstActive(store, 1)
  const rotation = await startRotation(store, 1, 2)
  for (const version of [1, 2]) await markRotation(store, version, rotation)
  const [certificates] = configured
  if (certificates === undefined) throw new Error('no collection')
  const fence = fenceOn(certificates, 3)
  const pending = await askRemoval(store, 3)
  await requestRemoval(store, pending, 60_000, 'vm-a', free)
  await raiseFence(store, fence)
  await askRemoval(store, 4, { destroyHsmKey: true })
  const set = { destroyed_at: new Date(0) }
  await store.db.collection<{ _id: number }>('kek_versions').updateOne({ _id: 4 }, { $set: set })
  const state = { $set: { state: 'destroyed' } }
  await store.db.collection('kek_removals').updateOne({ version: 4 }, state)
  await insertIntent(store, {
    requestedBy: 'alice',
    version: 5,
    provider: 'env',
    label: 'KEK_V5',
    keyId: null,
    origin: 'environment',
    madeBy: 'vm-a',
  })
  const task = await insertTask(store, { kind: 'rotate', by: 'alice' })
  return { store, row, rotation, fence, task, home: await readHome(store) }
}

test('a declared copy has nothing running and owns no key that came with it', async () => {
  const { store, row, rotation, fence, task, home } = await midway()
  const done = await declareCopy(store, row, { home, collections: configured, by: 'alice' })
  expect(done.withdrawn).toEqual({ removals: [3], rotations: [rotation], epoch: null })
  expect((await readInstall(store))?.id).toBe(done.id)
  expect(done.id).not.toBe(row.id)
  expect(await runningRotation(store)).toBeNull()
  expect(await readRotation(store, rotation)).toMatchObject({
    outcome: 'failed',
    error: { code: 'keystore-copied' },
  })
  for (const version of [3, 4]) expect(await currentRemoval(store, version)).toBeNull()
  expect(await hasFence(store, fence)).toBe(false)
  for (const version of [1, 2, 3, 4]) {
    expect(await readVersion(store, version)).toMatchObject({ of_original: true, rotation: null })
  }
  // Its key would be the original’s.
  expect(await readVersion(store, 5)).toBeNull()
  expect(await hasTask(store, task)).toBe(false)
})

test('a moved keystore continues with everything that was running', async () => {
  const { store, row, rotation, task, home } = await midway()
  await declareMoved(store, row, { home, by: 'alice' })
  expect(await readInstall(store)).toMatchObject({ id: row.id, home })
  expect((await runningRotation(store))?._id).toBe(rotation)
  for (const version of [3, 4]) expect(await currentRemoval(store, version)).not.toBeNull()
  expect(await readVersion(store, 5)).not.toBeNull()
  expect(await hasTask(store, task)).toBe(true)
})

test('a restored state has no open removal request, not even for a key of a destroyed version', async () => {
  const { store, row, rotation, home } = await midway()
  const done = await declareRestored(store, row, { home, collections: configured, by: 'alice' })
  expect(done).toMatchObject({ removals: [3], rotations: [rotation], epoch: { from: 1, to: 2 } })
  for (const version of [3, 4]) expect(await currentRemoval(store, version)).toBeNull()
  expect((await readVersion(store, 4))?.destroyed_at).not.toBeNull()
  expect((await readInstall(store))?.id).toBe(row.id)
})

test('a version that was never active in a restored state is removed like one that was active', async () => {
  const { store, row, home } = await midway()
  await declareRestored(store, row, { home, collections: configured, by: 'alice' })
  expect(await readVersion(store, 2)).toMatchObject({ activated_at: null, left_epoch: 2 })
  expect((await readVersion(store, 2))?.left_at).not.toBeNull()
  // Neither the active one nor what is destroyed.
  for (const version of [1, 4]) {
    expect(await readVersion(store, version)).toMatchObject({ left_at: null, left_epoch: null })
  }
  await requestRemoval(store, await askRemoval(store, 2), 60_000, 'vm-a', free)
  const removal = (await readVersion(store, 2))?.removal
  const waitMs = (removal?.due_at.getTime() ?? 0) - (removal?.requested_at.getTime() ?? 0)
  expect(waitMs).toBe(60_000)
})

test('a declaration by an identity that was replaced meanwhile changes nothing', async () => {
  const { store, row, home } = await midway()
  await declareCopy(store, row, { home, collections: configured, by: 'alice' })
  const after = await readInstall(store)
  const options = { home, collections: configured, by: 'alice' }
  await expect(declareCopy(store, row, options)).rejects.toMatchObject({ code: 'keystore-copied' })
  await expect(declareMoved(store, row, { home, by: 'alice' })).rejects.toMatchObject({
    code: 'keystore-copied',
  })
  expect(await readInstall(store)).toEqual(after)
})
