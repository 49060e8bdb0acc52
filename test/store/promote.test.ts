import { beforeEach, describe, expect, test } from 'vitest'
import { KeyturnError } from '../../contracts/errors.ts'
import { insertFirstActive, readActive } from '../../store/kek-active.ts'
import { readVersion } from '../../store/kek-versions.ts'
import { markRotation } from '../../store/rotation-marks.ts'
import { requestRemoval } from '../../store/version-removal.ts'
import { writeHeartbeat } from '../../store/process-heartbeats.ts'
import { promote, type Promotion } from '../../store/promote.ts'
import { endRotation, readRotation } from '../../store/rotations.ts'
import {
  askRemoval,
  free,
  installVersion,
  otherProcess,
  startRotation,
  testStore,
} from './support.ts'

const store = await testStore()
const other = await otherProcess(store)
let rotation: string
let promotion: Promotion

beforeEach(async () => {
  for (const name of ['kek_versions', 'kek_active', 'rotations', 'process_heartbeats']) {
    await store.db.collection(name).deleteMany({})
  }
  for (const version of [1, 2, 3]) await installVersion(store, version)
  await insertFirstActive(store, 1)
  rotation = await startRotation(store)
  for (const version of [1, 2]) await markRotation(store, version, rotation)
  promotion = { rotation, from: 1, to: 2, epoch: 1, worker: 'vm-a', proven: () => null }
})

const untouched = async () => {
  expect(await readActive(store)).toMatchObject({ version: 1, epoch: 1 })
  expect(await readRotation(store, rotation)).toMatchObject({ promoted_at: null, epoch: null })
  expect(await readVersion(store, 2)).toMatchObject({ activated_at: null })
  expect(await readVersion(store, 1)).toMatchObject({ deactivated_at: null, left_epoch: null })
}

describe('promote', () => {
  test('changes the active version, both versions and the rotation in one transaction', async () => {
    expect(await promote(store, promotion)).toEqual({ epoch: 2 })
    expect(await readActive(store)).toMatchObject({ version: 2, epoch: 2, rotation })
    expect(await readRotation(store, rotation)).toMatchObject({ phase: 'rewrap', epoch: 2 })
    const [one, two] = [await readVersion(store, 1), await readVersion(store, 2)]
    expect(one).toMatchObject({ left_epoch: 2, left_at: null })
    expect(one?.deactivated_at).toBeInstanceOf(Date)
    expect(two).toMatchObject({ activated_at: expect.any(Date) as Date, deactivated_at: null })
  })

  test('happens once when two attempts run at the same time, and a repeat answers the same', async () => {
    const both = await Promise.all([promote(store, promotion), promote(other, promotion)])
    expect(both).toEqual([{ epoch: 2 }, { epoch: 2 }])
    expect(await promote(store, promotion)).toEqual({ epoch: 2 })
    expect(await readActive(store)).toMatchObject({ version: 2, epoch: 2 })
  })

  test('reads the heartbeats inside its transaction and throws the error of its check', async () => {
    await writeHeartbeat(store, {
      node: 'vm-a',
      boot: 'b',
      pid: 1,
      role: 'worker',
      current: 1,
      epoch: 1,
      loaded: [],
      settings: null,
      leaseMs: 1000,
      expireMs: 2000,
    })
    const proven: Promotion['proven'] = ({ heartbeats }) =>
      new KeyturnError('not-ready', `${heartbeats[0]?.node ?? 'none'} has not loaded it`)
    await expect(promote(store, { ...promotion, proven })).rejects.toMatchObject({
      code: 'not-ready',
      message: 'vm-a has not loaded it',
    })
    await untouched()
  })

  test('by an attempt that wakes after a cancel does nothing', async () => {
    await endRotation(store, rotation, 'cancelled')
    await expect(promote(store, promotion)).rejects.toMatchObject({ code: 'cancelled' })
    expect(await readActive(store)).toMatchObject({ version: 1 })
  })

  test('from another epoch than that of preflight does nothing', async () => {
    await store.db.collection('kek_active').updateOne({}, { $set: { epoch: 7 } })
    await expect(promote(store, promotion)).rejects.toMatchObject({ code: 'not-active' })
    await store.db.collection('kek_active').updateOne({}, { $set: { epoch: 1 } })
    await untouched()
  })

  test('without its mark on both rows does nothing', async () => {
    for (const version of [1, 2]) {
      await store.db
        .collection('kek_versions')
        .updateOne({ _id: version } as never, { $set: { rotation: 'other' } })
      await expect(promote(store, promotion)).rejects.toMatchObject({ code: 'version-not-usable' })
      await untouched()
      await store.db
        .collection('kek_versions')
        .updateOne({ _id: version } as never, { $set: { rotation } })
    }
  })

  test('against a cancel at the same time: one of them happens, never half of each', async () => {
    const results = await Promise.allSettled([
      promote(store, promotion),
      endRotation(other, rotation, 'cancelled'),
    ])
    const promoted = results[0].status === 'fulfilled'
    expect((await readActive(store))?.version).toBe(promoted ? 2 : 1)
    expect((await readRotation(store, rotation))?.epoch).toBe(promoted ? 2 : null)
  })

  test('to a version that was left before clears the record that it was left', async () => {
    await promote(store, promotion)
    await endRotation(store, rotation, 'completed')
    await store.db.collection('kek_versions').updateMany({}, { $set: { rotation: null } })
    const back = await startRotation(store, 2, 1)
    for (const version of [1, 2]) await markRotation(store, version, back)
    expect(
      await promote(store, {
        rotation: back,
        from: 2,
        to: 1,
        epoch: 2,
        worker: 'vm-a',
        proven: () => null,
      }),
    ).toEqual({ epoch: 3 })
    expect(await readVersion(store, 1)).toMatchObject({
      deactivated_at: null,
      left_at: null,
      left_epoch: null,
    })
    expect(await requestRemoval(store, await askRemoval(store, 1), 0, 'vm-a', free)).toBe(false)
  })
})
