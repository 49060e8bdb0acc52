import { NativeConnection, Worker } from '@temporalio/worker'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { deploymentName, queues, workflowTypes } from '../../contracts/names.ts'
import type { WorkflowsView } from '../../contracts/views.ts'
import { openFleet } from '../support/fleet.ts'
import type { CliEnd, Fleet, RunningCli } from '../support/fleet.ts'
import { quietRuntime } from '../support/quiet-runtime.ts'

quietRuntime()

/** A rotation whose workflow no worker can continue, then one whose workflow is gone. Each test depends on those before. */
let fleet: Fleet
let own: string
let follower: RunningCli
const steering = [['rate', '5'], ['pause'], ['resume'], ['cancel']]
/** A message waits for 45 s at most while workers are alive; the rest is the start of a process on a busy machine. */
const withinMs = 45_000 + 15_000

beforeAll(async () => {
  fleet = await openFleet({ provider: 'env', versions: [] })
  own = ((await fleet.must('version')) as unknown as { build: string }).build
  for (const version of [1, 2]) await fleet.installVersion(version)
  await fleet.fill(200)
  follower = fleet.start('rotate', '--to-version', '2', '--max-rate', '1')
  await fleet.rewrapped(1)
})
afterAll(() => fleet.close())

/**
 * Polls for workflows beside the fleet, or in its place, as a worker of this build without the code of rotation and verify.
 * Null: as a worker without builds.
 */
async function withoutRotations(build: string | null, use: () => Promise<void>): Promise<void> {
  const bundle = createRequire(import.meta.url).resolve('#workflow-bundle')
  const code = (await readFile(bundle, 'utf8')).replaceAll(/rotateKek|verifyFleet/g, '$&Other')
  const connection = await NativeConnection.connect({ address: inject('temporalAddress') })
  const version = { deploymentName: deploymentName(fleet.identity), buildId: build ?? '' }
  try {
    const worker = await Worker.create({
      connection,
      taskQueue: queues.control(fleet.identity),
      identity: `keyturn/vm-z/${process.pid.toString()}/keyless`,
      workflowBundle: { code },
      ...(build === null
        ? {}
        : {
            workerDeploymentOptions: {
              version,
              useWorkerVersioning: true,
              defaultVersioningBehavior: 'PINNED',
            },
          }),
    })
    await worker.runUntil(use)
  } finally {
    await connection.close()
  }
}

/** Runs all steering commands at once; each must end in time. */
async function steer(): Promise<(CliEnd & { args: string })[]> {
  return await Promise.all(
    steering.map(async (args) => {
      const began = performance.now()
      const end = await fleet.cli(...args)
      expect(performance.now() - began, args.join(' ')).toBeLessThan(withinMs)
      return { ...end, args: args.join(' ') }
    }),
  )
}

async function checks(): Promise<{ check: string; state: string; detail: string; cure: string }[]> {
  const { json } = await fleet.cli('doctor')
  return json['checks'] as Awaited<ReturnType<typeof checks>>
}

/** The output of `status` for the rotation's own workflow; its ranges are other runs. */
const troubled = async () => {
  const { workflows } = (await fleet.must('status')) as { workflows?: WorkflowsView }
  return workflows?.troubled.find(({ type }) => type === workflowTypes.rotate)
}

const followerSays = async (text: string) => {
  await fleet.until(`the follower does not say "${text}"`, () =>
    Promise.resolve(follower.stderr().includes(text)),
  )
}

test.each([
  ['of no build', null],
  ['of another build', '0.0.0-other'],
])(
  'steering commands end within seconds and name the build without a worker, while a worker %s polls',
  async (_, build) => {
    for (const node of ['vm-a', 'vm-b']) if (fleet.nodes.runs(node)) await fleet.nodes.kill(node)
    await withoutRotations(build, async () => {
      await fleet.until('the killed workers do not expire', async () => {
        const { json } = await fleet.cli('nodes')
        return json.nodes.every(({ live }) => !live)
      })
      for (const { args, code, json } of await steer()) {
        expect({ args, code, error: json.error }).toMatchObject({
          code: 4,
          error: {
            code: 'no-worker',
            message: expect.stringContaining(`a worker of build "${own}"`) as string,
            hint: expect.stringContaining('keyturn rotate --to-version 2') as string,
          },
        })
      }
      expect(await troubled()).toMatchObject({ reason: 'build-unserved', build: own })
      await followerSays(`waits for a worker of build ${own}, and none is alive`)
      expect((await checks()).find(({ check }) => check === 'runs')).toMatchObject({
        state: 'warn',
        detail: expect.stringContaining(`a worker of build ${own}`) as string,
      })
    })
  },
)

test('steering commands end within seconds and show the error of a worker of this build', async () => {
  await withoutRotations(own, async () => {
    for (const { args, code, json } of await steer()) {
      expect({ args, code, error: json.error }).toMatchObject({
        code: 4,
        error: {
          code: 'no-worker',
          message: expect.stringMatching(
            /^no worker can run the workflow: rotation ".*" fails again and again in build ".*": .*rotateKek/,
          ) as string,
          hint: expect.stringMatching(/deploy one build.*; it may still be carried out/) as string,
        },
      })
    }
    const run = await troubled()
    expect(run).toMatchObject({ reason: 'task-failing', build: own })
    expect(run?.message).toContain('rotateKek')
    await followerSays('waits for a worker that can run the workflow: ')
    expect((await checks()).find(({ check }) => check === 'runs')).toMatchObject({
      state: 'fail',
      detail: expect.stringContaining('task-failing') as string,
      cure: expect.stringContaining('docs/upgrades.md') as string,
    })
    const { workflows } = await fleet.must('status')
    expect(workflows).toMatchObject({ workers: [{ node: 'vm-z', build: own }] })

    // A command that only waits for its workflow also ends, although a worker with keys is alive.
    await fleet.nodes.start('vm-b', { roles: 'rewrap' })
    const { code, json } = await fleet.cli('verify', '--target', '1')
    expect({ code, error: json.error }).toMatchObject({
      code: 4,
      error: {
        code: 'no-worker',
        message: expect.stringMatching(/verifyFleet.*\(task-failing\)/) as string,
        hint: expect.stringContaining('docs/upgrades.md') as string,
      },
    })
    await fleet.nodes.kill('vm-b')
  })
})

test('status shows a rotation whose workflow was terminated, and the next rotate takes it over', async () => {
  await fleet.rotateWorkflow().terminate('by the test')
  expect(await follower.end()).toMatchObject({ code: 5 })
  const { abandoned, rotation } = await fleet.must('status')
  expect(rotation).toBeNull()
  expect(abandoned).toMatchObject({ from: 1, to: 2, phase: 'rewrap' })
  for (const { code, json } of await steer()) {
    expect({ code, error: json.error }).toMatchObject({
      code: 3,
      error: { code: 'no-rotation', message: expect.stringContaining('ended from') as string },
    })
  }
  for (const node of ['vm-a', 'vm-b']) await fleet.nodes.start(node)
  const whole = await fleet.must('rotate', '--to-version', '2')
  expect(whole).toMatchObject({ outcome: 'completed', remaining: 0 })
  const after = await fleet.must('status')
  expect(after['abandoned']).toBeUndefined()
  expect(await fleet.verifyRecords()).toEqual({ 2: 200 })
})

test('an unanswered message is carried out when a worker is back, as its hint says', async () => {
  const rotation = fleet.start('rotate', '--to-version', '1', '--max-rate', '1')
  await fleet.rewrapped(1)
  // A late command would be refused before it is sent, and nothing would be carried out.
  await fleet.until(
    'no message was sent',
    async () => {
      for (const node of ['vm-a', 'vm-b']) fleet.nodes.freeze(node)
      const { code, json } = await fleet.cli('cancel')
      expect({ code, error: json.error.code }).toEqual({ code: 4, error: 'no-worker' })
      for (const node of ['vm-a', 'vm-b']) fleet.nodes.thaw(node)
      return json.error.hint?.includes('it may still be carried out when a worker') === true
    },
    90_000,
  )
  const { code, json } = await rotation.end()
  expect({ code, outcome: json.outcome }).toEqual({ code: 7, outcome: 'cancelled' })
})
