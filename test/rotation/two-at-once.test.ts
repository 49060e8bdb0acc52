import { expect, test } from 'vitest'
import { onEachProvider, route } from '../support/each-provider.ts'

onEachProvider('two rotations at once', { records: 600, versions: [1, 2, 3] }, (fleetOf) => {
  test('to different versions: one runs, the other is refused', async () => {
    const fleet = fleetOf()
    const { from, to, total } = await route(fleet)
    const ends = await Promise.all(
      [to, 3].map((version) =>
        fleet.cli('rotate', '--to-version', `${version}`, '--max-rate', '300'),
      ),
    )
    const [winner, loser] = ends[0]?.code === 0 ? ends : ends.toReversed()
    expect(winner?.code).toBe(0)
    expect(winner?.json).toMatchObject({ from, outcome: 'completed', rewrapped: total })
    expect(loser?.code).toBe(3)
    expect(loser?.json.error.code).toBe('rotation-running')
    const now = await fleet.active()
    expect(winner?.json.to).toBe(now)
    expect(await fleet.verifyRecords()).toEqual({ [now]: total })
    if (now === 3) await fleet.must('rotate', '--to-version', `${to}`)
  })

  test('between the same versions are one, and both commands end with its result', async () => {
    const fleet = fleetOf()
    const { to, total } = await route(fleet)
    const ends = await Promise.all(
      [1, 2].map(() => fleet.cli('rotate', '--to-version', `${to}`, '--max-rate', '300')),
    )
    expect(ends.map(({ code }) => code)).toEqual([0, 0])
    expect(ends[0]?.json.rotationId).toBe(ends[1]?.json.rotationId)
    for (const { json } of ends)
      expect(json).toMatchObject({ outcome: 'completed', rewrapped: total })
    const rows = await fleet.store.db.collection('rotations').countDocuments({ to, outcome: null })
    expect(rows).toBe(0)
  })

  test('a later command attaches to the one that runs, another version is refused meanwhile', async () => {
    const fleet = fleetOf()
    const { to } = await route(fleet)
    const first = fleet.start('rotate', '--to-version', `${to}`, '--max-rate', '100')
    await fleet.rewrapped(50)
    const other = await fleet.cli('rotate', '--to-version', '3')
    expect({ code: other.code, error: other.json.error.code }).toEqual({
      code: 3,
      error: 'rotation-running',
    })
    const second = fleet.start('rotate', '--to-version', `${to}`)
    await fleet.must('rate', '0')
    const ends = await Promise.all([first.end(), second.end()])
    expect(ends.map(({ code }) => code)).toEqual([0, 0])
    expect(ends[0].json.rotationId).toBe(ends[1].json.rotationId)
  })
})
