import { expect, test } from 'vitest'
import { onEachProvider } from '../support/each-provider.ts'
import { deksOf, leakedSecrets } from '../support/leaked-secrets.ts'
import { pausedRotation } from '../support/paused-rotation.ts'
import { processes } from '../support/processes.ts'
import { startApplication } from '../support/writing-application.ts'

/** Promises of the README about envelopes, keys and secrets, each once. The long tests attack them from all sides. */
onEachProvider('a rotation and a removal', { records: 300 }, (fleetOf) => {
  const children = processes()

  test('each envelope opens under the version that it names, and no write of an application is lost', async () => {
    const fleet = fleetOf()
    const application = () =>
      startApplication(fleet, children, { node: 'app-1', isEphemeral: true })
    const before = await application()
    const { from, to, rotation } = await pausedRotation(fleet)
    await before.writes(Date.now(), to)
    await before.stop()
    const midway = await fleet.verifyRecords()
    expect(midway[from]).toBeGreaterThan(0)
    expect(midway[to]).toBeGreaterThan(0)
    const after = await application()
    await fleet.must('rate', '0')
    await fleet.must('resume')
    expect((await rotation.end()).code).toBe(0)
    await after.writes(Date.now(), to)
    await after.stop()
    expect(await fleet.verifyRecords()).toEqual({ [to]: fleet.records.book.size })
  })

  test('no PIN, KEK or DEK is in a log, an output, a history or the database', async () => {
    const fleet = fleetOf()
    expect(await leakedSecrets(fleet, await deksOf(fleet))).toEqual([])
  })

  test('a key stays while an envelope or a process needs it, and goes when nothing does', async () => {
    const fleet = fleetOf()
    const { from, to, rotation } = await pausedRotation(fleet)
    const midway = await fleet.cli('remove', '--version', `${from}`)
    expect(midway.code).toBe(3)
    expect(failing(midway.json.guards)).toContain('census-zero')
    await fleet.must('rate', '0')
    await fleet.must('resume')
    expect((await rotation.end()).code).toBe(0)
    await fleet.nodes.stop('vm-b')
    const stopped = await fleet.cli('remove', '--version', `${from}`)
    expect(failing(stopped.json.guards)).toEqual(['fleet-past'])
    await fleet.nodes.start('vm-b')
    const destroy = fleet.token === null ? [] : ['--destroy-hsm-key']
    await fleet.must('remove', '--version', `${from}`, ...destroy)
    expect(await fleet.must('status')).toMatchObject({
      versions: expect.arrayContaining([
        expect.objectContaining({ version: from, state: 'destroyed' }),
      ]) as unknown,
    })
    expect(await fleet.verifyRecords()).toEqual({ [to]: fleet.records.book.size })
  })
})

function failing(guards: readonly { guard: string; ok: boolean }[]): string[] {
  return guards.filter(({ ok }) => !ok).map(({ guard }) => guard)
}
