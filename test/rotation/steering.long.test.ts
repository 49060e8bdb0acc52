import { expect, test } from 'vitest'
import { messages } from '../../contracts/names.ts'
import type { RotationProgress } from '../../contracts/rotation.ts'
import { runningRotation } from '../../store/rotations.ts'
import { onEachProvider, route } from '../support/each-provider.ts'
import { heartbeats, quiet } from '../support/quiet.ts'

onEachProvider('steering a rotation', { records: 1_000 }, (fleetOf) => {
  test('pause stops the sweep, resume continues it, rate slows it down and removes the limit', async () => {
    const fleet = fleetOf()
    const { to, total } = await route(fleet)
    const rotation = fleet.start('rotate', '--to-version', `${to}`, '--max-rate', '150')
    await fleet.rewrapped(100)
    await fleet.must('pause')
    await quiet(fleet)
    const paused = await fleet.counters()
    const { rotation: view } = await fleet.must('status')
    expect(view).toMatchObject({ paused: true, rewrapped: paused.rewrapped, phase: 'rewrap' })
    await heartbeats(fleet, 3)
    expect(await fleet.counters()).toEqual(paused)
    expect(paused.rewrapped).toBeLessThan(total)

    await fleet.must('rate', '20')
    await fleet.must('resume')
    await fleet.rewrapped(paused.rewrapped + 50)
    const startedMs = performance.now()
    const { rewrapped: before } = await fleet.counters()
    await heartbeats(fleet, 5)
    const seconds = (performance.now() - startedMs) / 1000
    const { rewrapped: after } = await fleet.counters()
    // Each of the four ranges may have one page of 50 more in flight than its share.
    expect(after - before).toBeLessThanOrEqual(20 * seconds + 4 * 50)
    expect(after).toBeLessThan(total)

    await fleet.must('rate', '0')
    const { code, json } = await rotation.end()
    expect(code).toBe(0)
    expect(json).toMatchObject({ rewrapped: total, superseded: 0, remaining: 0 })
    expect(await fleet.verifyRecords()).toEqual({ [to]: total })
  })

  test('a paused rotation is shown as paused without workers, can be cancelled, and cannot be steered afterwards', async () => {
    const fleet = fleetOf()
    const { from, to, total } = await route(fleet)
    const rotation = fleet.start('rotate', '--to-version', `${to}`, '--max-rate', '150')
    await fleet.rewrapped(50)
    await fleet.must('pause')
    const nodes = ['vm-a', 'vm-b']
    await Promise.all(nodes.map((node) => fleet.nodes.kill(node)))
    const { rotation: view } = await fleet.must('status')
    expect(view).toMatchObject({ paused: true, pausedBy: null, from, to, phase: 'rewrap' })
    await Promise.all(nodes.map((node) => fleet.nodes.start(node)))
    await fleet.must('cancel')
    const { code, json } = await rotation.end()
    expect(code).toBe(7)
    expect(json.rewrapped + json.remaining).toBe(total)
    for (const command of [['pause'], ['resume'], ['rate', '5'], ['cancel']]) {
      const { code: refused, json: said } = await fleet.cli(...command)
      expect({ refused, code: said.error.code }).toEqual({ refused: 3, code: 'no-rotation' })
    }
    await fleet.must('rotate', '--from-version', `${to}`, '--to-version', `${from}`)
  })

  test('a budget of HSM calls is never exceeded although a worker dies; the rotation pauses and shows why', async () => {
    const fleet = fleetOf()
    const { from, to, total } = await route(fleet)
    const limits = ['--max-hsm-calls', '600', '--max-rate', '150']
    const rotation = fleet.start('rotate', '--to-version', `${to}`, ...limits)
    await fleet.rewrapped(40)
    await fleet.nodes.kill('vm-a')
    await fleet.nodes.start('vm-a')
    const handle = fleet.rotateWorkflow()
    await fleet.until('it does not pause', async () => {
      const found = await handle.query<RotationProgress>(messages.progress).catch(() => null)
      return found?.pausedBy === 'hsm-budget' && found.paused
    })
    await quiet(fleet)
    const counters = await fleet.counters()
    expect(counters.hsmCalls).toBeLessThanOrEqual(600)
    expect(counters.rewrapped).toBe(counters.hsmCalls / 3)
    // The dead worker's reservations, at most three pages of nine calls for each of four ranges, stay spent.
    expect(counters.hsmCalls).toBeGreaterThan(600 - 3 * 4 * 9 * 3 - 3)
    const row = await runningRotation(fleet.store)
    expect(row?.hsm_reserved).toBeLessThanOrEqual(600)
    expect(row?.hsm_reserved).toBeGreaterThanOrEqual(counters.hsmCalls)
    await fleet.must('cancel')
    const { code, json } = await rotation.end()
    expect({ code, ...json }).toMatchObject({ code: 7, hsmCalls: counters.hsmCalls })
    expect(json.rewrapped + json.remaining).toBe(total)
    await fleet.must('rotate', '--from-version', `${to}`, '--to-version', `${from}`)
    expect(await fleet.verifyRecords()).toEqual({ [from]: total })
  })
})
