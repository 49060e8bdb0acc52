import { expect, onTestFinished, test } from 'vitest'
import { readRanges } from '../../store/rewrap-ranges.ts'
import { runningRotation } from '../../store/rotations.ts'
import { onEachProvider } from '../support/each-provider.ts'
import type { Fleet } from '../support/fleet.ts'
import { holdRanges } from '../support/holds.ts'
import { slowRotation } from '../support/paused-rotation.ts'

/** Limit for a takeover here; `npm run bench -- crash` measures it and allows 15 s. */
const takeoverMs = 40_000

onEachProvider('a rotation whose workers die', { records: 2_000 }, (fleetOf) => {
  test('survives three kills of sweeping workers with exact counters', async () => {
    const fleet = fleetOf()
    const { to, total, rotation } = await slowRotation(fleet)
    const standstill = longestStandstill(fleet)
    let held = await holdRanges(fleet, 120)
    onTestFinished(() => held.release())
    await fleet.must('rate', '0')
    for (const node of ['vm-a', 'vm-b', 'vm-a']) {
      await held.reached()
      await fleet.nodes.kill(node)
      // Pages come to rest there next; before, those in flight at the kill are swept again.
      const next = await holdRanges(fleet, 120)
      await held.release()
      held = next
      await fleet.nodes.start(node)
    }
    await held.release()
    expect(await standstill).toBeLessThan(takeoverMs)
    const { code, json, stderr } = await rotation.end()
    expect({ code, stderr }).toMatchObject({ code: 0 })
    expect(json).toMatchObject({ outcome: 'completed', remaining: 0, quarantined: 0 })
    expect(json.rewrapped + json.superseded).toBe(total)
    expect(json.superseded).toBe(0)
    expect(await fleet.verifyRecords()).toEqual({ [to]: total })
  })

  test('continues after both workers were killed at once', async () => {
    const fleet = fleetOf()
    const { to, total, rotation } = await slowRotation(fleet)
    const held = await holdRanges(fleet, 120)
    onTestFinished(held.release)
    await fleet.must('rate', '0')
    await held.reached()
    await Promise.all(['vm-a', 'vm-b'].map((node) => fleet.nodes.kill(node)))
    await held.release()
    await Promise.all(['vm-a', 'vm-b'].map((node) => fleet.nodes.start(node)))
    const { code, json } = await rotation.end()
    expect(code).toBe(0)
    expect(json).toMatchObject({ rewrapped: total, superseded: 0, quarantined: 0, remaining: 0 })
    expect(await fleet.verifyRecords()).toEqual({ [to]: total })
  })
})

/** The longest time in milliseconds in which an open range had neither a new attempt nor a page. */
async function longestStandstill(fleet: Fleet): Promise<number> {
  const lives = new Map<string, { state: string; sinceMs: number }>()
  let longest = 0
  await fleet.rewrapped(1)
  const id = (await runningRotation(fleet.store))?._id ?? ''
  await fleet.until(
    'the sweep does not end',
    async () => {
      const ranges = await readRanges(fleet.store, id)
      const now = performance.now()
      for (const { _id, attempt, closed, counters } of ranges) {
        const state = `${attempt} ${counters.rewrapped}`
        const life = lives.get(_id.shard)
        if (life === undefined || life.state !== state) {
          lives.set(_id.shard, { state, sinceMs: now })
        } else if (!closed) {
          longest = Math.max(longest, now - life.sinceMs)
        }
      }
      return ranges.every(({ closed }) => closed)
    },
    90_000,
  )
  return longest
}
