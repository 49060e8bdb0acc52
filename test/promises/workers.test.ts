import { expect, onTestFinished, test } from 'vitest'
import { collections } from '../../contracts/names.ts'
import { bytesOfRecords } from '../support/bytes-of.ts'
import { onEachProvider, route } from '../support/each-provider.ts'
import type { Fleet } from '../support/fleet.ts'
import { holdRecord } from '../support/holds.ts'
import { sweepingNode } from '../support/sweeping-node.ts'

/** Promises of the README about workers that die or freeze, each once. The long tests attack them from all sides. */
onEachProvider('a rotation whose worker fails', { records: 300 }, (fleetOf) => {
  test('a killed worker writes nothing twice and its part goes on elsewhere', async () => {
    const fleet = fleetOf()
    const { to, total } = await route(fleet)
    const held = await holdRecord(fleet)
    onTestFinished(held.release)
    const rotation = fleet.start('rotate', '--to-version', `${to}`)
    await held.reached()
    const node = await sweepingNode(fleet)
    await fleet.nodes.kill(node)
    await takenOver(fleet)
    await held.release()
    const { code, json } = await rotation.end()
    expect(code).toBe(0)
    expect(json).toMatchObject({ rewrapped: total, superseded: 0, quarantined: 0, remaining: 0 })
    expect(await fleet.verifyRecords()).toEqual({ [to]: total })
    await fleet.nodes.start(node)
  })

  test('a frozen worker writes no stale page when it wakes', async () => {
    const fleet = fleetOf()
    const { to, total } = await route(fleet)
    const held = await holdRecord(fleet)
    onTestFinished(held.release)
    const rotation = fleet.start('rotate', '--to-version', `${to}`)
    await held.reached()
    const node = await sweepingNode(fleet)
    const before = (await fleet.nodes.log(node)).length
    fleet.nodes.freeze(node)
    await takenOver(fleet)
    await held.release()
    expect((await rotation.end()).code).toBe(0)
    const bytes = await bytesOfRecords(fleet.store)
    fleet.nodes.thaw(node)
    await fleet.until('the woken worker does not end its sweep', async () => {
      const log = (await fleet.nodes.log(node)).slice(before)
      return /"activityType":"rewrapBatch".*"msg":"Activity (completed|cancelled|failed)/.test(log)
    })
    expect(await bytesOfRecords(fleet.store)).toBe(bytes)
    expect(await fleet.verifyRecords()).toEqual({ [to]: total })
  })
})

/** Resolves when a range has been taken for a second attempt. */
async function takenOver(fleet: Fleet): Promise<void> {
  const ranges = fleet.store.db.collection(collections.ranges)
  await fleet.until('no range is taken over', async () => {
    return (await ranges.countDocuments({ closed: false, attempt: { $gte: 2 } })) > 0
  })
}
