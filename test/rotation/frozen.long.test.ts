import { expect, onTestFinished, test } from 'vitest'
import { collections } from '../../contracts/names.ts'
import { readRanges } from '../../store/rewrap-ranges.ts'
import { runningRotation } from '../../store/rotations.ts'
import { bytesOfRecords } from '../support/bytes-of.ts'
import { onEachProvider } from '../support/each-provider.ts'
import type { CliEnd, Fleet } from '../support/fleet.ts'
import { holdRanges } from '../support/holds.ts'
import { slowRotation } from '../support/paused-rotation.ts'
import { sweepingNode } from '../support/sweeping-node.ts'

onEachProvider('a worker that is frozen with pages in flight', { records: 900 }, (fleetOf) => {
  test('is replaced, and writes nothing when it wakes after a cancel and a rotation back', async () => {
    const fleet = fleetOf()
    const { from, to, total, rotation } = await slowRotation(fleet)
    // Its pages in flight are wrapped and not written when it is frozen.
    const held = await holdRanges(fleet, 60)
    onTestFinished(held.release)
    await fleet.must('rate', '0')
    await held.reached()
    const node = await sweepingNode(fleet)
    fleet.nodes.freeze(node)
    const frozenPid = fleet.nodes.pid(node)
    const frozenLog = (await fleet.nodes.log(node)).length
    // The frozen worker's ranges make no progress until the other worker takes them over.
    const before = await attempts(fleet)
    // Slow enough that the sweep lasts until the cancel.
    await fleet.must('rate', '4')
    await held.release()
    await takenOver(fleet, before)
    await moved(fleet)
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

    const bytes = await bytesOfRecords(fleet.store)
    fleet.nodes.thaw(node)
    await fleet.until('the woken worker does not beat', () => beats(fleet, frozenPid))
    await fleet.until('the woken worker does not end its sweeps', async () => {
      const said = (await fleet.nodes.log(node)).slice(frozenLog)
      return /"activityType":"rewrapBatch".*"msg":"Activity (completed|cancelled|failed)/.test(said)
    })
    // It has tried to write all its pages in flight when it stops.
    expect(await fleet.nodes.stop(node)).toBe(0)
    expect(await bytesOfRecords(fleet.store)).toBe(bytes)
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

/** The attempts of the open ranges, by name. */
async function attempts(fleet: Fleet): Promise<Map<string, number>> {
  const row = await runningRotation(fleet.store)
  const ranges = row === null ? [] : await readRanges(fleet.store, row._id)
  const open = ranges.filter(({ closed }) => !closed)
  return new Map(open.map(({ _id, attempt }) => [_id.shard, attempt]))
}

/** Resolves when each open range has another attempt than `before`: the frozen worker's too. */
async function takenOver(fleet: Fleet, before: ReadonlyMap<string, number>): Promise<void> {
  await fleet.until('a range is not taken over', async () => {
    const now = await attempts(fleet)
    return [...now].every(([range, attempt]) => attempt > (before.get(range) ?? 0))
  })
}

/** Resolves when the sweep has made progress. */
async function moved(fleet: Fleet): Promise<void> {
  const { rewrapped } = await fleet.counters()
  await fleet.rewrapped(rewrapped + 5)
}

async function beats(fleet: Fleet, pid: number): Promise<boolean> {
  const filter = { pid, $expr: { $gt: ['$expires_at', '$$NOW'] } }
  return (await fleet.store.db.collection(collections.heartbeats).countDocuments(filter)) > 0
}
