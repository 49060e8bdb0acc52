import { rm } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { WorkflowsView } from '../../contracts/views.ts'
import { findServer } from '../../devstack/servers/find-server.ts'
import { freshFolder } from '../../devstack/stack-folder.ts'
import { startTemporalServer } from '../../devstack/temporal-server.ts'
import { openFleet, type Fleet } from '../support/fleet.ts'
import { otherBuild, type OtherBuild } from '../support/other-build.ts'

/** A server without worker versioning gives each task to any worker of any build. */
let folder: string
let server: Awaited<ReturnType<typeof startTemporalServer>>
let fleet: Fleet
let other: OtherBuild

beforeAll(async () => {
  // It cannot replay a history of our rotation.
  other = await otherBuild({
    'rotate-kek.js': [
      ['allHandlersFinished,', 'allHandlersFinished, sleep,'],
      ['cancelOnRequest(state);', 'cancelOnRequest(state);\n    await sleep(1);'],
    ],
  })
  folder = await freshFolder('without-builds')
  const { path } = await findServer('temporal', { print: console.error })
  const settings = ['system.enableDeploymentVersions=false']
  server = await startTemporalServer({ path, folder, ui: false, settings })
  const { address: temporalAddress } = server
  fleet = await openFleet({ provider: 'env', nodes: ['vm-a'], temporalAddress })
  await fleet.fill(100)
}, 240_000)

afterAll(async () => {
  await fleet.close()
  await server.stop()
  await rm(folder, { recursive: true, force: true })
  await other.remove()
})

const checkNamed = async (name: string) => {
  const { json } = await fleet.cli('doctor')
  const { checks } = json as unknown as { checks: { check: string; detail: string }[] }
  return checks.find(({ check }) => check === name)
}

test('a rotation runs on a Temporal without worker versioning, and commands report that', async () => {
  expect(await fleet.must('rotate', '--to-version', '2')).toMatchObject({ outcome: 'completed' })
  expect(await fleet.nodes.log('vm-a')).toContain('temporal keeps no builds apart')
  expect(await fleet.must('setup')).toMatchObject({ build: { by: 'off' } })
  const { workflows } = await fleet.must('status')
  expect(workflows).toMatchObject({ versioned: false, workers: [{ node: 'vm-a' }], troubled: [] })
  expect((await checkNamed('builds'))?.detail).toContain('keeps no builds apart')
})

test('commands show the error of a build that cannot continue a rotation', async () => {
  const follower = fleet.start('rotate', '--to-version', '1', '--max-rate', '1')
  await fleet.rewrapped(1)
  await fleet.nodes.kill('vm-a')
  await fleet.nodes.start('vm-b', { main: other.main })
  // A task that the killed worker had taken goes to the other one only when its time is over.
  await fleet.until('the other build does not fail', async () => {
    const { workflows } = (await fleet.must('status')) as unknown as { workflows: WorkflowsView }
    return workflows.troubled.some(({ type, message }) => type === 'rotateKek' && message !== null)
  })
  for (const args of [['rate', '5'], ['pause'], ['resume'], ['cancel']]) {
    const { code, json } = await fleet.cli(...args)
    expect({ args, code, error: json.error }).toMatchObject({
      code: 4,
      error: {
        code: 'no-worker',
        message: expect.stringMatching(/^no worker can run the workflow: .*determinism/i) as string,
        hint: expect.stringContaining('another build') as string,
      },
    })
  }
  await fleet.until('the follower does not say it', () =>
    Promise.resolve(
      /waits for a worker that can run the workflow: .*determinism/i.test(follower.stderr()),
    ),
  )
  const { workflows } = (await fleet.must('status')) as unknown as { workflows: WorkflowsView }
  expect(workflows.troubled).toContainEqual(
    expect.objectContaining({ type: 'rotateKek', reason: 'task-failing' }),
  )
  expect(await checkNamed('runs')).toMatchObject({
    state: 'fail',
    detail: expect.stringMatching(/determinism.*task-failing/i) as string,
  })

  await fleet.rotateWorkflow().terminate('by the test')
  expect((await follower.end()).code).toBe(5)
}, 240_000)
