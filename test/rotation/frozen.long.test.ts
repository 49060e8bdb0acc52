import { expect, test } from 'vitest'
import { collections } from '../../contracts/names.ts'
import { bytesOfRecords } from '../support/bytes-of.ts'
import { onEachProvider, route } from '../support/each-provider.ts'
import type { CliEnd, Fleet } from '../support/fleet.ts'
import { sweepingNode } from '../support/sweeping-node.ts'

onEachProvider('a worker that is frozen with pages in flight', { records: 900 }, (fleetOf) => {
  test('is replaced, and writes nothing when it wakes after a cancel and a rotation back', async () => {
    const fleet = fleetOf()
    const { from, to, total } = await route(fleet)
    const rotation = fleet.start('rotate', '--to-version', `${to}`, '--max-rate', '300')
    await fleet.rewrapped(100)
    const node = await sweepingNode(fleet)
    fleet.nodes.freeze(node)
    const frozenPid = fleet.nodes.pid(node)
    const frozenLog = (await fleet.nodes.log(node)).length
    // The frozen worker's ranges make no progress until the other worker takes them over.
    await takenOver(fleet)
    const cancelled = await fleet.cli('cancel')
    expect(cancelled.json).toMatchObject({ outcome: 'cancelled' })
    expect(cancelled.code).toBe(0)
    expect((await rotation.end()).code).toBe(7)
    expect(cancelled.json.rewrapped + cancelled.json.remaining).toBe(total)

    // The host starts another process, while the old one is still frozen.
    await fleet.nodes.start(`${node} again`, { as: node })
    await fleet.until(
      'the frozen heartbeat is not gone',
      async () => !(await beats(fleet, frozenPid)),
    )
    const back = await rotateBack(fleet, to, from)
    expect(back.code, back.stderr).toBe(0)
    expect(back.json).toMatchObject({ outcome: 'completed', remaining: 0 })
    expect(await fleet.verifyRecords()).toEqual({ [from]: total })

    const before = await bytesOfRecords(fleet.store)
    fleet.nodes.thaw(node)
    await fleet.until('the woken worker does not beat', () => beats(fleet, frozenPid))
    await fleet.until('the woken worker does not end its sweeps', async () => {
      const said = (await fleet.nodes.log(node)).slice(frozenLog)
      return /"activityType":"rewrapBatch".*"msg":"Activity (completed|cancelled|failed)/.test(said)
    })
    // It has tried to write all its pages in flight when it stops.
    expect(await fleet.nodes.stop(node)).toBe(0)
    expect(await bytesOfRecords(fleet.store)).toBe(before)
    await fleet.nodes.stop(`${node} again`)
    await fleet.nodes.start(node)
  })
})

/**
 * The server may send questions to the open long polls of the frozen process until they time out (a minute). Verify then
 * correctly refuses the node by name and changes nothing. A later rotate succeeds.
 */
async function rotateBack(fleet: Fleet, from: number, to: number): Promise<CliEnd> {
  return await fleet.until(
    'the fleet is never ready',
    async () => {
      const end = await fleet.cli('rotate', '--from-version', `${from}`, '--to-version', `${to}`)
      const isRefused = end.code === 3 && end.json.error.code === 'not-ready'
      if (isRefused) console.error(`refused, and asked again: ${end.json.error.message}`)
      return isRefused ? null : end
    },
    90_000,
  )
}

/** Resolves when a range has a second attempt and makes progress. */
async function takenOver(fleet: Fleet): Promise<void> {
  const ranges = fleet.store.db.collection(collections.ranges)
  const running = { closed: false, attempt: { $gte: 2 } }
  await fleet.until(
    'no range is taken over',
    async () => (await ranges.countDocuments(running)) > 0,
  )
  const { rewrapped } = await fleet.counters()
  await fleet.rewrapped(rewrapped + 50)
}

async function beats(fleet: Fleet, pid: number): Promise<boolean> {
  const filter = { pid, $expr: { $gt: ['$expires_at', '$$NOW'] } }
  return (await fleet.store.db.collection(collections.heartbeats).countDocuments(filter)) > 0
}
