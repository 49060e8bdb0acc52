import { expect, test } from 'vitest'
import { onEachProvider, route } from '../support/each-provider.ts'
import type { Fleet, RunningCli } from '../support/fleet.ts'

/** Slow, so that no rotation ends before its second command has attached; the limit is removed then. */
const slowly = ['--max-rate', '1']

onEachProvider('two rotations at once', { records: 600, versions: [1, 2, 3] }, (fleetOf) => {
  test('to different versions: one runs, the other is refused', async () => {
    const fleet = fleetOf()
    const { from, to, total } = await route(fleet)
    const ends = [to, 3].map((version) => rotate(fleet, version).end())
    const loser = await Promise.race(ends)
    expect({ code: loser.code, error: loser.json.error.code }).toEqual({
      code: 3,
      error: 'rotation-running',
    })
    await fleet.must('rate', '0')
    const winner = (await Promise.all(ends)).find((end) => end !== loser)
    expect(winner?.code).toBe(0)
    expect(winner?.json).toMatchObject({ from, outcome: 'completed', rewrapped: total })
    const now = await fleet.active()
    expect(winner?.json.to).toBe(now)
    expect(await fleet.verifyRecords()).toEqual({ [now]: total })
    if (now === 3) await fleet.must('rotate', '--to-version', `${to}`)
  })

  test('between the same versions are one rotation, and both commands end with its result', async () => {
    const fleet = fleetOf()
    const { to, total } = await route(fleet)
    const both = [rotate(fleet, to), rotate(fleet, to)]
    await attached(fleet, both)
    await fleet.must('rate', '0')
    const ends = await Promise.all(both.map((command) => command.end()))
    expect(ends.map(({ code }) => code)).toEqual([0, 0])
    expect(ends[0]?.json.rotationId).toBe(ends[1]?.json.rotationId)
    for (const { json } of ends)
      expect(json).toMatchObject({ outcome: 'completed', rewrapped: total })
    const rows = await fleet.store.db.collection('rotations').countDocuments({ to, outcome: null })
    expect(rows).toBe(0)
  })

  test('are one when a later command attaches to the first; another version is refused meanwhile', async () => {
    const fleet = fleetOf()
    const { to } = await route(fleet)
    const first = rotate(fleet, to)
    await fleet.rewrapped(1)
    const other = await fleet.cli('rotate', '--to-version', '3')
    expect({ code: other.code, error: other.json.error.code }).toEqual({
      code: 3,
      error: 'rotation-running',
    })
    const second = fleet.start('rotate', '--to-version', `${to}`)
    await attached(fleet, [second])
    await fleet.must('rate', '0')
    const ends = await Promise.all([first.end(), second.end()])
    expect(ends.map(({ code }) => code)).toEqual([0, 0])
    expect(ends[0].json.rotationId).toBe(ends[1].json.rotationId)
  })
})

function rotate(fleet: Fleet, version: number): RunningCli {
  return fleet.start('rotate', '--to-version', `${version}`, ...slowly)
}

/** Resolves when one command has attached to the rotation of the other. */
async function attached(fleet: Fleet, commands: readonly RunningCli[]): Promise<void> {
  await fleet.until('nobody has attached', () =>
    Promise.resolve(commands.some((command) => command.stderr().includes('attached to rotation'))),
  )
}
