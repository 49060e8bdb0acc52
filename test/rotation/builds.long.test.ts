import { afterAll, beforeAll, expect, test } from 'vitest'
import { workflowIds } from '../../contracts/names.ts'
import { openFleet } from '../support/fleet.ts'
import type { Fleet } from '../support/fleet.ts'
import { otherBuild } from '../support/other-build.ts'
import type { OtherBuild } from '../support/other-build.ts'

/**
 * Two builds of the workflows at once. The second has one more timer at the start of a rotation, so it cannot replay a
 * history of the first, and one more at the end of a removal, behind `patched`.
 */
let fleet: Fleet
let other: OtherBuild
let own: string

beforeAll(async () => {
  other = await otherBuild({
    'rotate-kek.js': [
      ['allHandlersFinished,', 'allHandlersFinished, sleep,'],
      ['cancelOnRequest(state);', 'cancelOnRequest(state);\n    await sleep(1);'],
    ],
    'remove-kek.js': [
      ['allHandlersFinished,', 'allHandlersFinished, patched,'],
      [
        'show(progress, step);\n        return',
        "if (patched('one-timer-more')) await sleep(1);\n        show(progress, step);\n        return",
      ],
    ],
  })
  fleet = await openFleet({
    provider: 'env',
    nodes: ['vm-a'],
    versions: [1, 2, 3],
    config: { removal: { backup_window: '0s', undo_window: '1h' } },
  })
  own = ((await fleet.must('version')) as unknown as { build: string }).build
}, 240_000)

afterAll(async () => {
  await fleet.close()
  await other.remove()
})

/** The build of the worker that took a run's last task. */
async function buildOf(workflowId: string): Promise<string | undefined> {
  const { raw } = await fleet.temporal.workflow.getHandle(workflowId).describe()
  return raw.workflowExecutionInfo?.versioningInfo?.deploymentVersion?.buildId ?? undefined
}

test('a rotation finishes in the build that began it, while another build serves new runs', async () => {
  expect(other.id).not.toBe(own)
  await fleet.fill(300)
  const rotation = fleet.start('rotate', '--to-version', '2', '--max-rate', '1')
  await fleet.rewrapped(1)
  const id = workflowIds.rotate(fleet.identity)
  expect(await buildOf(id)).toBe(own)

  await fleet.must('pause')
  await fleet.nodes.start('vm-b', { main: other.main })
  // A task that no worker of the first build takes must not be taken by the other build either.
  expect(await buildOf(id)).toBe(own)
  const setup = JSON.parse(await other.cli(fleet.config, fleet.env, 'setup')) as object
  expect(setup).toMatchObject({ build: { id: other.id, current: true, by: 'made' } })
  await fleet.must('rate', '0')
  await fleet.must('resume')
  const end = await rotation.end()
  expect(end.stderr).not.toContain('stands still')
  expect(end).toMatchObject({ code: 0, json: { outcome: 'completed', remaining: 0 } })
  expect(await buildOf(id)).toBe(own)

  await fleet.must('rotate', '--to-version', '3')
  expect(await buildOf(id)).toBe(other.id)
  await fleet.verifyRecords()
})

test('a pending removal continues in the newer build, and no run is unserved when the last worker of a build stops', async () => {
  const back = await fleet.cli('setup')
  expect(back.json).toMatchObject({ build: { id: own, current: true, by: 'made' } })
  await fleet.must('remove', '--version', '1')
  const id = workflowIds.remove(fleet.identity, 1)
  await fleet.until('the removal does not begin', async () => (await buildOf(id)) === own)

  await fleet.nodes.stop('vm-a')
  await fleet.must('nodes', 'decommission', 'vm-a')
  // The remaining build becomes current without a command.
  const { handler } = await fleet.until('nobody serves the removal', async () => {
    const end = await fleet.cli('remove', '--version', '1', '--undo')
    return end.code === 0 && { handler: await buildOf(id) }
  })
  expect(handler).toBe(other.id)
  await fleet.must('verify', '--target', '2')
  expect(await buildOf(workflowIds.verify(fleet.identity, 2))).toBe(other.id)
})

test('a rotation whose build has no worker is reported with a hint, and continues in another build', async () => {
  await fleet.nodes.start('vm-c')
  await fleet.must('setup')
  await fleet.must('rotate', '--to-version', '2', '--max-rate', '1', '--detach')
  await fleet.rewrapped(1)
  await fleet.must('pause')
  const id = workflowIds.rotate(fleet.identity)
  expect(await buildOf(id)).toBe(own)
  await fleet.nodes.kill('vm-c')
  await fleet.until('the killed worker does not expire', async () => {
    return (await fleet.cli('nodes', 'decommission', 'vm-c')).code === 0
  })

  const run = { workflowId: id, build: own, reason: 'build-unserved' }
  await fleet.until('status does not name the run', async () => {
    const { workflows } = await fleet.must('status')
    const { current, troubled } = workflows as { current: string; troubled: object[] }
    return current === other.id && troubled.some((one) => isLike(one, run))
  })
  const { checks } = (await fleet.cli('doctor')).json as unknown as { checks: { detail: string }[] }
  expect(checks.find(({ detail }) => detail.includes(id))).toMatchObject({
    check: 'runs',
    state: 'warn',
    cure: expect.stringContaining('keyturn rotate') as string,
  })
  for (const command of [['pause'], ['cancel'], ['rate', '5']]) {
    const { json } = await fleet.cli(...command)
    expect(json.error.code, command.join(' ')).toBe('no-worker')
    expect(json.error.message).toContain(own)
    expect(json.error.hint).toContain('keyturn rotate --to-version 2')
  }

  expect(await fleet.must('rotate', '--to-version', '2')).toMatchObject({ outcome: 'completed' })
  expect(await buildOf(id)).toBe(other.id)
  await fleet.verifyRecords()
})

function isLike(one: object, like: Record<string, unknown>): boolean {
  return Object.entries(like).every(([name, value]) => Reflect.get(one, name) === value)
}
