import { expect, test } from 'vitest'
import { onEachProvider, route } from '../support/each-provider.ts'
import { deksOf, leakedSecrets } from '../support/leaked-secrets.ts'
import { slowRotation } from '../support/paused-rotation.ts'

onEachProvider('after a rotation', { records: 300 }, (fleetOf) => {
  test('no PIN, KEK or DEK is in a log, a command’s output, a history or the database', async () => {
    const fleet = fleetOf()
    const before = await deksOf(fleet)
    expect(before.length).toBe(300)
    const { to } = await route(fleet)
    await fleet.must('verify', '--target', `${to}`)
    // A kill and a refusal on the way: errors are where secrets leak.
    const { rotation } = await slowRotation(fleet)
    await fleet.nodes.kill('vm-a')
    await fleet.nodes.start('vm-a')
    await fleet.cli('rotate', '--to-version', '9')
    await fleet.must('rate', '0')
    expect((await rotation.end()).code).toBe(0)
    await fleet.must('status')
    await fleet.must('scan', '--unwrap')
    const after = await deksOf(fleet)
    const hex = (deks: Buffer[]) => deks.map((dek) => dek.toString('hex')).toSorted()
    expect(hex(after)).toEqual(hex(before))

    expect(await leakedSecrets(fleet, before)).toEqual([])
  })
})
