import { expect, test } from 'vitest'
import { onEachProvider, route } from '../support/each-provider.ts'

onEachProvider('a rotation whose workers die', { records: 2_000 }, (fleetOf) => {
  test('outlives three kills of workers that sweep, and its counters are exact', async () => {
    const fleet = fleetOf()
    const { to, total } = await route(fleet)
    const rotation = fleet.start('rotate', '--to-version', `${to}`, '--max-rate', '500')
    for (const [node, at] of [
      ['vm-a', 200],
      ['vm-b', 700],
      ['vm-a', 1_200],
    ] as const) {
      await fleet.rewrapped(at)
      await fleet.nodes.kill(node)
      await fleet.nodes.start(node)
    }
    const { code, json, stderr } = await rotation.end()
    expect({ code, stderr }).toMatchObject({ code: 0 })
    expect(json).toMatchObject({ outcome: 'completed', remaining: 0, quarantined: 0 })
    expect(json.rewrapped + json.superseded).toBe(total)
    expect(json.superseded).toBe(0)
    expect(await fleet.verifyRecords()).toEqual({ [to]: total })
  })

  test('goes on after both workers were killed at once', async () => {
    const fleet = fleetOf()
    const { to, total } = await route(fleet)
    const rotation = fleet.start('rotate', '--to-version', `${to}`, '--max-rate', '600')
    await fleet.rewrapped(400)
    await Promise.all(['vm-a', 'vm-b'].map((node) => fleet.nodes.kill(node)))
    await Promise.all(['vm-a', 'vm-b'].map((node) => fleet.nodes.start(node)))
    const { code, json } = await rotation.end()
    expect(code).toBe(0)
    expect(json).toMatchObject({ rewrapped: total, superseded: 0, quarantined: 0, remaining: 0 })
    expect(await fleet.verifyRecords()).toEqual({ [to]: total })
  })
})
