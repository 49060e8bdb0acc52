import { expect, onTestFinished, test } from 'vitest'
import { messages } from '../../contracts/names.ts'
import type { RotationProgress } from '../../contracts/rotation.ts'
import { runningRotation } from '../../store/rotations.ts'
import { onEachProvider } from '../support/each-provider.ts'
import { holdRanges } from '../support/holds.ts'
import { slowRotation } from '../support/paused-rotation.ts'
import { heartbeats, quiet } from '../support/quiet.ts'

onEachProvider('steering a rotation', { records: 1_000 }, (fleetOf) => {
  test('pause stops the sweep, resume continues it, rate slows it down and removes the limit', async () => {
    const fleet = fleetOf()
    const { to, total, rotation } = await slowRotation(fleet)
    await fleet.must('pause')
    await quiet(fleet)
    const paused = await fleet.counters()
    const { rotation: view } = await fleet.must('status')
    expect(view).toMatchObject({ paused: true, rewrapped: paused.rewrapped, phase: 'rewrap' })
    await heartbeats(fleet, 3)
    expect(await fleet.counters()).toEqual(paused)
    expect(paused.rewrapped).toBeLessThan(total)

    await fleet.must('rate', '10')
    await fleet.must('resume')
    await fleet.rewrapped(paused.rewrapped + 10)
    const startedMs = performance.now()
    const { rewrapped: before } = await fleet.counters()
    await heartbeats(fleet, 5)
    const { rewrapped: after } = await fleet.counters()
    const seconds = (performance.now() - startedMs) / 1000
    // Each of the four ranges may catch up one second, and have three pages of two in flight. A slow machine does less.
    expect(after - before).toBeLessThanOrEqual(10 * seconds + 10 + 4 * 3 * 2)
    expect(after).toBeLessThan(total)

    await fleet.must('rate', '0')
    const { code, json } = await rotation.end()
    expect(code).toBe(0)
    expect(json).toMatchObject({ rewrapped: total, superseded: 0, remaining: 0 })
    expect(await fleet.verifyRecords()).toEqual({ [to]: total })
  })

  test('a paused rotation is shown as paused without workers, can be cancelled, and cannot be steered afterwards', async () => {
    const fleet = fleetOf()
    const { from, to, total, rotation } = await slowRotation(fleet)
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
    const { from, to, total, rotation } = await slowRotation(fleet, '--max-hsm-calls', '600')
    // It dies with pages in flight, whose calls are made: four ranges of six envelopes use less than the budget.
    const held = await holdRanges(fleet, 6)
    onTestFinished(held.release)
    await fleet.must('rate', '8')
    await held.reached()
    await fleet.nodes.kill('vm-a')
    await held.release()
    await fleet.nodes.start('vm-a')
    await fleet.must('rate', '0')
    const handle = fleet.rotateWorkflow()
    await fleet.until('it does not pause', async () => {
      const found = await handle.query<RotationProgress>(messages.progress).catch(() => null)
      return found?.pausedBy === 'hsm-budget' && found.paused
    })
    await quiet(fleet)
    const counters = await fleet.counters()
    expect(counters.hsmCalls).toBeLessThanOrEqual(600)
    expect(counters.rewrapped).toBe(counters.hsmCalls / 3)
    // The dead worker's reservations, at most three pages of two envelopes for each of four ranges, stay spent.
    expect(counters.hsmCalls).toBeGreaterThan(600 - 3 * 4 * 2 * 3 - 3)
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
