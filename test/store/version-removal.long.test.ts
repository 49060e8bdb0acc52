import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { insertFirstActive, readActive } from '../../store/kek-active.ts'
import { readVersion } from '../../store/kek-versions.ts'
import {
  clearEndedMarks,
  clearMarks,
  markRotation,
  recordLeft,
  takeOverMark,
} from '../../store/rotation-marks.ts'
import {
  destroyVersion,
  raiseGuardRun,
  requestRemoval,
  setFenced,
} from '../../store/version-removal.ts'
import { promote } from '../../store/promote.ts'
import { endRotation } from '../../store/rotations.ts'
import { withdrawRemoval } from '../../store/removal-requests.ts'
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

beforeAll(async () => {
  for (const version of [1, 2, 3]) await installVersion(store, version)
  await insertFirstActive(store, 1)
})

const windowMs = 3_600_000
const versions = store.db.collection('kek_versions')

/** No version is marked, in removal or asked for. */
async function clear(): Promise<void> {
  await versions.updateMany({}, { $set: { rotation: null, removal: null } })
  await store.db.collection('kek_removals').deleteMany({})
}

/** As if the version had been active once: then it needs a window and a fence. */
async function wasActive(version: number): Promise<void> {
  await versions.updateOne({ _id: version as never }, { $set: { activated_at: new Date() } })
}

describe('removal', () => {
  beforeEach(clear)

  test('is requested once, may be repeated, and is undone only by its id', async () => {
    await wasActive(2)
    const id = await askRemoval(store, 2)
    expect(await requestRemoval(store, id, windowMs, 'vm-a', free)).toBe(true)
    const first = (await readVersion(store, 2))?.removal
    expect(first).toMatchObject({ request: id, guard_run: 0, fenced_at: null })
    expect(Number(first?.due_at) - Number(first?.requested_at)).toBe(windowMs)
    expect(await requestRemoval(store, id, windowMs, 'vm-a', free)).toBe(true)
    expect((await readVersion(store, 2))?.removal).toEqual(first)
    // A version has one open request.
    expect(await askRemoval(store, 2)).not.toBe(id)
    expect(await store.db.collection('kek_removals').countDocuments()).toBe(1)
    expect(await setFenced(store, 2, id)).toBe(true)
    expect(await withdrawRemoval(store, 'another', 'withdrawn', { reason: 'tested' })).toBe(false)
    expect(await withdrawRemoval(store, id, 'withdrawn', { reason: 'tested' })).toBe(true)
    expect(await withdrawRemoval(store, id, 'withdrawn', { reason: 'tested' })).toBe(false)
    expect((await readVersion(store, 2))?.removal).toBeNull()
    // An attempt of it that comes late, from a worker that hung, does not ask again.
    expect(await requestRemoval(store, id, windowMs, 'vm-a', free)).toBe(false)
    expect((await readVersion(store, 2))?.removal).toBeNull()
  })

  test('of the active version, a marked version or an unknown version is refused', async () => {
    expect(await requestRemoval(store, await askRemoval(store, 1), 0, 'vm-a', free)).toBe(false)
    expect(await requestRemoval(store, await askRemoval(store, 99), 0, 'vm-a', free)).toBe(false)
    expect(await requestRemoval(store, 'unknown', 0, 'vm-a', free)).toBe(false)
    const rotation = await startRotation(store)
    expect(await markRotation(store, 2, rotation)).toBe(true)
    const id = await askRemoval(store, 2)
    expect(await requestRemoval(store, id, 0, 'vm-a', free)).toBe(false)
    // What was refused has written nothing.
    expect(await store.db.collection('kek_removals').findOne({ _id: id as never })).toMatchObject({
      state: 'asked',
    })
  })

  test('does not begin before its due time', async () => {
    const id = await askRemoval(store, 2, { afterMs: 60_000 })
    expect(await requestRemoval(store, id, 0, 'vm-a', free)).toBe(false)
    expect((await readVersion(store, 2))?.removal).toBeNull()
  })

  test('prevents a mark while it is pending', async () => {
    await requestRemoval(store, await askRemoval(store, 2), windowMs, 'vm-a', free)
    expect(await markRotation(store, 2, await startRotation(store))).toBe(false)
    expect(await takeOverMark(store, 2, 'old', await startRotation(store))).toBe(false)
  })

  test('destroys only with the fence, after the undo window, and by the latest run of the guards', async () => {
    await wasActive(3)
    const id = await askRemoval(store, 3)
    await requestRemoval(store, id, windowMs, 'vm-a', free)
    const first = await raiseGuardRun(store, 3, id)
    const second = await raiseGuardRun(store, 3, id)
    expect([first, second]).toEqual([1, 2])
    expect(await raiseGuardRun(store, 3, 'another')).toBeNull()
    const destroy = (request = id, run = 2) => destroyVersion(store, 3, request, run, 'vm-a', free)
    expect(await destroy()).toBe(false)
    await setFenced(store, 3, id)
    expect(await destroy()).toBe(false)
    await versions.updateOne({ _id: 3 as never }, { $set: { 'removal.due_at': new Date(0) } })
    expect(await destroy(id, 1)).toBe(false)
    expect(await destroy('another')).toBe(false)
    expect(await destroy()).toBe(true)
    expect(await destroy()).toBe(true)
    expect(await withdrawRemoval(store, id, 'withdrawn', { reason: 'tested' })).toBe(false)
    expect((await readVersion(store, 3))?.destroyed_at).toBeInstanceOf(Date)
    expect(await markRotation(store, 3, await startRotation(store))).toBe(false)
  })
})

describe('marks', () => {
  test('go to one of two rotations, can be taken over, and are removed', async () => {
    await clear()
    const [one, two] = [await startRotation(store), await startRotation(store)]
    const marked = await Promise.all([markRotation(store, 2, one), markRotation(other, 2, two)])
    expect(marked.filter(Boolean)).toHaveLength(1)
    const [winner, loser] = marked[0] ? [one, two] : [two, one]
    expect(await markRotation(store, 2, winner)).toBe(true)
    expect(await takeOverMark(store, 2, loser, loser)).toBe(false)
    expect(await takeOverMark(store, 2, winner, loser)).toBe(true)
    expect(await recordLeft(store, 2, winner)).toBe(false)
    expect(await recordLeft(store, 2, loser)).toBe(true)
    await clearMarks(store, loser)
    expect((await readVersion(store, 2))?.rotation).toBe(loser)
    await endRotation(store, loser, 'completed')
    await clearMarks(store, loser)
    expect(await readVersion(store, 2)).toMatchObject({
      rotation: null,
      left_at: expect.any(Date) as Date,
    })
  })

  test('of a rotation that has ended are removed, those of a running rotation are kept', async () => {
    await clear()
    const [gone, running] = [await startRotation(store), await startRotation(store)]
    expect(await markRotation(store, 1, gone)).toBe(true)
    expect(await markRotation(store, 2, running)).toBe(true)
    await clearEndedMarks(store)
    expect(await readVersion(store, 1)).toMatchObject({ rotation: gone })
    await endRotation(store, gone, 'failed')
    await clearEndedMarks(store)
    expect(await readVersion(store, 1)).toMatchObject({ rotation: null })
    expect(await readVersion(store, 2)).toMatchObject({ rotation: running })
    await clearMarks(store, running)
  })

  test('are not set by a late attempt of a rotation that has ended', async () => {
    const rotation = await startRotation(store)
    await endRotation(store, rotation, 'cancelled')
    expect(await markRotation(store, 2, rotation)).toBe(false)
  })
})

describe('a rotation back and a removal at the same time', () => {
  test('never destroy an active version, in 200 races', { timeout: 300_000 }, async () => {
    const seen = { destroyed: 0, promoted: 0, neither: 0 }
    // Version 100 is left for 101, and so on: each race is about the one that was left last.
    await clear()
    let active = 1
    for (let race = 0; race < 200; race += 1) {
      const old = 100 + race
      await installVersion(store, old)
      const rotation = await startRotation(store, active, old)
      const epoch = (await readActive(store))?.epoch ?? 0
      const remove = async () => {
        const id = await askRemoval(store, old)
        if (!(await requestRemoval(store, id, 0, 'vm-a', free))) return false
        const run = await raiseGuardRun(store, old, id)
        return run !== null && (await destroyVersion(store, old, id, run, 'vm-a', free))
      }
      const rotateBack = async () => {
        if (!(await markRotation(other, old, rotation))) return false
        if (!(await markRotation(other, active, rotation))) return false
        await promote(other, {
          rotation,
          from: active,
          to: old,
          epoch,
          worker: 'vm-a',
          proven: () => null,
        })
        return true
      }
      const lead = Math.floor(Math.random() * 4)
      const delay = async (turns: number) => {
        for (let turn = 0; turn < turns; turn += 1) await store.db.command({ ping: 1 })
      }
      const [destroyed, promoted] = await Promise.all([
        delay(lead).then(remove),
        delay(3 - lead).then(rotateBack),
      ])
      await endRotation(store, rotation, promoted ? 'completed' : 'refused')
      await clearMarks(store, rotation)
      const row = await readVersion(store, old)
      const now = await readActive(store)
      expect(destroyed && promoted).toBe(false)
      expect(row?.destroyed_at !== null).toBe(destroyed)
      expect(now?.version === old).toBe(promoted)
      const current = await readVersion(store, now?.version ?? 0)
      expect(current?.destroyed_at).toBeNull()
      // A removal that begins later than all that must be refused as well.
      await clear()
      const late = await askRemoval(store, now?.version ?? 0)
      expect(await requestRemoval(store, late, 0, 'vm-a', free)).toBe(false)
      seen[destroyed ? 'destroyed' : promoted ? 'promoted' : 'neither'] += 1
      active = now?.version ?? active
    }
    expect(seen.destroyed).toBeGreaterThan(0)
    expect(seen.promoted).toBeGreaterThan(0)
  })
})
