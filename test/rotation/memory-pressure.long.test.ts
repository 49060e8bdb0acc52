import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { collections } from '../../contracts/names.ts'
import { canBuildFaultHsm, makeFaultHsm, useFaultHsm } from '../fault-hsm/fault-hsm.ts'
import type { FaultHsm } from '../fault-hsm/fault-hsm.ts'
import { route } from '../support/each-provider.ts'
import { openFleet } from '../support/fleet.ts'
import type { CliEnd, Fleet } from '../support/fleet.ts'
import { holdRecord } from '../support/holds.ts'
import { killByPressure, lanesOf, whyNoMemoryPressure } from '../support/memory-pressure.ts'
import { pausedRotation } from '../support/paused-rotation.ts'

const softhsm = inject('softhsm')
const records = 400
const canRun =
  softhsm !== null && (await canBuildFaultHsm()) && (await whyNoMemoryPressure()) === null

describe.skipIf(!canRun)("the kernel's OOM killer", () => {
  let folder: string
  let fault: FaultHsm
  let fleet: Fleet

  beforeAll(async () => {
    folder = await mkdtemp(join(process.cwd(), '.keyturn', 'memory-'))
    fault = await makeFaultHsm(folder, softhsm ?? '')
    useFaultHsm(fault)
    fleet = await openFleet({ provider: 'pkcs11', modulePath: fault.path })
    await fleet.fill(records)
  })
  afterAll(async () => {
    await fleet.close()
    await rm(folder, { recursive: true, force: true })
  })

  const completed = async (end: CliEnd, to: number, total: number) => {
    expect({ code: end.code, stderr: end.stderr }).toMatchObject({ code: 0 })
    expect(end.json).toMatchObject({ outcome: 'completed', remaining: 0, quarantined: 0 })
    expect({ rewrapped: end.json.rewrapped, superseded: end.json.superseded }).toEqual({
      rewrapped: total,
      superseded: 0,
    })
    expect(await fleet.verifyRecords()).toEqual({ [to]: records })
  }

  test('kills lanes with pages in them: they are replaced, and the pages repeated', async () => {
    const { total } = await route(fleet)
    const { to, rotation } = await pausedRotation(fleet)
    const calls = async () => (await fault.counters()).calls['C_Decrypt'] ?? 0
    const before = await calls()
    // Each lane stays in the page that it begins.
    await fault.set('hang C_Decrypt')
    await fleet.must('rate', '0')
    await fleet.must('resume')
    await fleet.until('no page is in a lane', async () => (await calls()) > before)
    const workers = ['vm-a', 'vm-b'].map((node) => fleet.nodes.pid(node))
    const lanes = workers.flatMap(lanesOf)
    expect(lanes.length).toBeGreaterThanOrEqual(2)
    await fault.heal()
    await Promise.all(lanes.map((lane) => killByPressure(lane)))
    await completed(await rotation.end(), to, total)
    expect(workers).toEqual(['vm-a', 'vm-b'].map((node) => fleet.nodes.pid(node)))
    for (const lane of workers.flatMap(lanesOf)) expect(lanes).not.toContain(lane)
  })

  test('kills a worker in a page: another one takes over', async () => {
    const { to, total } = await route(fleet)
    const restart = async (roles?: string) => {
      expect(await fleet.nodes.stop('vm-b')).toBe(0)
      await fleet.nodes.start('vm-b', roles === undefined ? {} : { roles })
    }
    await restart('control,node')
    const hold = await holdRecord(fleet)
    const rotation = fleet.start('rotate', '--to-version', `${to}`)
    await hold.reached()
    await restart()
    await killByPressure(fleet.nodes.pid('vm-a'))
    const ranges = fleet.store.db.collection(collections.ranges)
    const takenOver = { closed: false, attempt: { $gte: 2 } }
    await fleet.until(
      'nobody takes over',
      async () => (await ranges.countDocuments(takenOver)) > 0,
      60_000,
    )
    await hold.release()
    await fleet.nodes.start('vm-a')
    await completed(await rotation.end(), to, total)
  })
})
