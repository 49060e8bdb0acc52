import { expect, test } from 'vitest'
import { messages } from '../../contracts/names.ts'
import { promote } from '../../store/promote.ts'
import { readActive } from '../../store/kek-active.ts'
import { readVersions } from '../../store/kek-versions.ts'
import { lastRotation, readRotation, runningRotation } from '../../store/rotations.ts'
import { readRanges } from '../../store/rewrap-ranges.ts'
import { onEachProvider, route } from '../support/each-provider.ts'
import { slowRotation } from '../support/paused-rotation.ts'

onEachProvider('a rotation that is stopped early', { records: 800 }, (fleetOf) => {
  test('ends with 7 when cancelled, and can be rotated back', async () => {
    const fleet = fleetOf()
    const { from, to, total, rotation } = await slowRotation(fleet)
    const cancel = await fleet.cli('cancel')
    expect({ code: cancel.code, outcome: cancel.json.outcome }).toEqual({
      code: 0,
      outcome: 'cancelled',
    })
    const { code, json } = await rotation.end()
    expect(code).toBe(7)
    expect(json.remaining).toBeGreaterThan(0)
    expect(json.rewrapped + json.remaining).toBe(total)
    expect(await fleet.verifyRecords()).toEqual({ [from]: json.remaining, [to]: json.rewrapped })
    const status = await fleet.must('status')
    expect(status).toMatchObject({ rotation: null, lastRotation: { outcome: 'cancelled' } })

    const back = await fleet.cli('rotate', '--from-version', `${to}`, '--to-version', `${from}`)
    expect(back.code).toBe(0)
    expect(back.json).toMatchObject({ rewrapped: json.rewrapped, remaining: 0, superseded: 0 })
    expect(await fleet.verifyRecords()).toEqual({ [from]: total })
    expect((await fleet.cli('cancel')).code).toBe(3)
  })

  test('is finished by the same command after a cancel, without another promote', async () => {
    const fleet = fleetOf()
    const { from, to, total, rotation } = await slowRotation(fleet)
    await fleet.must('cancel')
    const { json } = await rotation.end()
    const epoch = (await readActive(fleet.store))?.epoch
    const rest = await fleet.cli('rotate', '--to-version', `${to}`)
    expect(rest.code).toBe(0)
    expect(rest.json).toMatchObject({ from, to, rewrapped: json.remaining, remaining: 0 })
    expect((await readActive(fleet.store))?.epoch).toBe(epoch)
    expect(await fleet.verifyRecords()).toEqual({ [to]: total })
  })

  test('leaves no mark or range that affects the next rotation when terminated', async () => {
    const fleet = fleetOf()
    const { from, to, total, rotation } = await slowRotation(fleet)
    const id = (await runningRotation(fleet.store))?._id ?? ''
    await fleet.rotateWorkflow().terminate('by the test')
    const { code } = await rotation.end()
    expect(code).toBe(5)
    // Ranges may still be swept; the rotation back must close them.
    const back = await fleet.cli('rotate', '--from-version', `${to}`, '--to-version', `${from}`)
    expect({ code: back.code, stderr: back.stderr }).toMatchObject({ code: 0 })
    expect(back.json).toMatchObject({ outcome: 'completed', remaining: 0, superseded: 0 })
    expect(await readRotation(fleet.store, id)).toMatchObject({ outcome: 'failed' })
    for (const range of await readRanges(fleet.store, id)) expect(range.closed).toBe(true)
    for (const row of await readVersions(fleet.store)) expect(row.rotation).toBeNull()
    expect(await fleet.verifyRecords()).toEqual({ [from]: total })
  })

  test('does not switch by an attempt of promote that wakes after its cancel', async () => {
    const fleet = fleetOf()
    const { from, to, total } = await route(fleet)
    const before = await readActive(fleet.store)
    await fleet.must('rotate', '--to-version', `${to}`, '--detach')
    const handle = fleet.rotateWorkflow()
    // The update is handled before the next step, so the rotation stops before promote.
    await handle.executeUpdate(messages.cancel)
    await handle.result()
    const last = await lastRotation(fleet.store)
    expect(last).toMatchObject({ outcome: 'cancelled', to })
    expect(await readActive(fleet.store)).toEqual(before)
    const late = {
      rotation: last?._id ?? '',
      from,
      to,
      epoch: before?.epoch ?? 0,
      worker: 'vm-a',
      proven: () => null,
    }
    await expect(promote(fleet.store, late)).rejects.toMatchObject({ code: 'cancelled' })
    expect(await readActive(fleet.store)).toEqual(before)
    expect(await fleet.verifyRecords()).toEqual({ [from]: total })
  })

  test('does not switch again by a late attempt of promote after a cancel and a rotation back', async () => {
    const fleet = fleetOf()
    const before = await readActive(fleet.store)
    const { from, to, rotation } = await slowRotation(fleet)
    const id = (await runningRotation(fleet.store))?._id ?? ''
    await fleet.must('cancel')
    await rotation.end()
    await fleet.must('rotate', '--from-version', `${to}`, '--to-version', `${from}`)
    const now = await readActive(fleet.store)
    for (const epoch of [before?.epoch ?? 0, now?.epoch ?? 0]) {
      const late = { rotation: id, from, to, epoch, worker: 'vm-a', proven: () => null }
      await expect(promote(fleet.store, late)).rejects.toMatchObject({ code: 'cancelled' })
    }
    expect(await readActive(fleet.store)).toEqual(now)
    expect(now).toMatchObject({ version: from, epoch: (before?.epoch ?? 0) + 2 })
  })
})
