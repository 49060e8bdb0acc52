import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Document } from 'mongodb'
import { collections } from '../../contracts/names.ts'
import { route } from '../support/each-provider.ts'
import { fakeClock, findFakeTime } from '../support/faketime.ts'
import type { FakeClock } from '../support/faketime.ts'
import { openFleet } from '../support/fleet.ts'
import type { CliEnd, Fleet } from '../support/fleet.ts'
import { holdRecord } from '../support/holds.ts'
import { heartbeats } from '../support/quiet.ts'

const library = await findFakeTime()
const records = 400
const hour = 3_600
const undoWindowMs = 20 * 60_000
/** How long a command may take between the test's clock and MongoDB's. */
const commandMs = 60_000

/** vm-a, the commands, MongoDB and Temporal have the machine's clock; vm-b is an hour ahead of them. */
describe.skipIf(library === null)('hosts whose clocks are an hour apart', () => {
  let fleet: Fleet
  let clockB: FakeClock

  beforeAll(async () => {
    const windows = { backup_window: '0s', undo_window: '20m' }
    fleet = await openFleet({ provider: 'env', nodes: ['vm-a'], config: { removal: windows } })
    clockB = fakeClock(library!, join(fleet.folder, 'clock-of-vm-b'))
    clockB.setAhead(hour)
    await fleet.nodes.start('vm-b', { env: clockB.env })
    await fleet.fill(records)
  })
  afterAll(() => fleet.close())

  const start = (node: string, roles?: string) =>
    fleet.nodes.start(node, {
      ...(node === 'vm-b' && { env: clockB.env }),
      ...(roles === undefined ? {} : { roles }),
    })
  const restart = async (node: string, roles?: string) => {
    expect(await fleet.nodes.stop(node)).toBe(0)
    await start(node, roles)
  }
  const completed = async (end: CliEnd, to: number, total: number) => {
    expect({ code: end.code, stderr: end.stderr }).toMatchObject({ code: 0 })
    expect(end.json).toMatchObject({ outcome: 'completed', remaining: 0, quarantined: 0 })
    expect({ rewrapped: end.json.rewrapped, superseded: end.json.superseded }).toEqual({
      rewrapped: total,
      superseded: 0,
    })
    expect(await fleet.verifyRecords()).toEqual({ [to]: records })
  }
  const openRange = async (): Promise<Document> => {
    const range = await fleet.store.db.collection(collections.ranges).findOne({ closed: false })
    if (range === null) throw new Error('no range is open')
    return range
  }

  test('the log of the host ahead shows its own clock, its heartbeat that of MongoDB', async () => {
    const last = (await fleet.nodes.log('vm-b')).match(/"time":"([^"]+)"/)?.[1] ?? ''
    expect(Date.parse(last)).toBeGreaterThan(Date.now() + (hour * 1_000) / 2)
    const beats = fleet.store.db.collection(collections.heartbeats)
    const beat = await beats.findOne({ node: 'vm-b' })
    expect((beat?.['at'] as Date).getTime()).toBeLessThan(Date.now() + commandMs)
  })

  test.each([
    ['vm-a', 'vm-b'],
    ['vm-b', 'vm-a'],
  ])('verify and a rotation succeed, and when %s is killed %s takes over', async (busy, idle) => {
    const { to, total } = await route(fleet)
    await restart(idle, 'control,node')
    await fleet.must('verify', '--target', `${to}`)
    const hold = await holdRecord(fleet)
    const rotation = fleet.start('rotate', '--to-version', `${to}`)
    await hold.reached()
    expect(await openRange()).toMatchObject({ attempt: 1 })
    await restart(idle)
    await fleet.nodes.kill(busy)
    await fleet.until('nobody takes over', async () => (await openRange())['attempt'] === 2, 60_000)
    await hold.release()
    await start(busy)
    await completed(await rotation.end(), to, total)
  })

  test('steps of an hour under a running worker void its lease until it beats, and cost no envelope', async () => {
    const { to, total } = await route(fleet)
    // Only vm-b sweeps.
    await restart('vm-a', 'control,node')
    const hold = await holdRecord(fleet)
    const rotation = fleet.start('rotate', '--to-version', `${to}`)
    await hold.reached()
    for (const seconds of [2 * hour, hour, 0, -hour, hour]) {
      clockB.setAhead(seconds)
      await heartbeats(fleet, 3)
    }
    expect(await fleet.nodes.log('vm-b')).toMatch(/"lease":"clock-jumped","msg":"lease lost"/)
    await hold.release()
    await completed(await rotation.end(), to, total)
    await restart('vm-a')
  })

  test('windows of a removal are by the clock of MongoDB, and a worker with another clock refuses', async () => {
    const { from } = await route(fleet)
    const old = `${3 - from}`
    await restart('vm-a', 'rewrap,node')
    // The fleet's guards do not pass before the new process has heartbeats.
    await heartbeats(fleet, 3)
    const refused = await fleet.cli('remove', '--version', old)
    expect({ code: refused.code, error: refused.json.error }).toMatchObject({
      code: 3,
      error: { code: 'clock-differs' },
    })
    await restart('vm-a')
    await restart('vm-b', 'rewrap,node')
    const asked = Date.now()
    const due = Date.parse((await fleet.must('remove', '--version', old)).dueAt)
    expect(due).toBeGreaterThan(asked + undoWindowMs - commandMs)
    expect(due).toBeLessThan(asked + undoWindowMs + commandMs)
    // Only the host ahead has the role now: for it the window is over.
    await restart('vm-b')
    await restart('vm-a', 'rewrap,node')
    await heartbeats(fleet, 4)
    expect(await fleet.must('remove', '--version', old, '--undo')).toMatchObject({
      state: 'deactivated',
    })
    await restart('vm-a')
  })
})
