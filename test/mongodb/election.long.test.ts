import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { ReplicaSet } from '../../devstack/replica-set.ts'
import { runningRotation } from '../../store/rotations.ts'
import { openStore } from '../../store/store.ts'
import { openFleet } from '../support/fleet.ts'
import type { Fleet } from '../support/fleet.ts'
import { replicaSet } from '../support/replica-set.ts'

describe('a set of three whose primary changes', () => {
  const started = replicaSet(['data', 'data', 'data'])
  let set: ReplicaSet
  let fleet: Fleet

  beforeAll(async () => {
    set = started()
    fleet = await openFleet({ provider: 'env', nodes: ['vm-a'], mongoUri: set.uri })
    await fleet.fill(200)
  })
  afterAll(() => fleet.close())

  /** Commands that begin before, during and after an election; each must end with 0. */
  const through = async (change: () => Promise<void>, ...commands: string[][]) => {
    const ends = [0, 250].flatMap((laterMs) =>
      commands.map(async (args) => {
        await new Promise((resolve) => setTimeout(resolve, laterMs))
        return { args, ...(await fleet.cli(...args)) }
      }),
    )
    await change()
    for (const { args, code, stdout, stderr } of await Promise.all(ends)) {
      expect(code, `${args.join(' ')}: ${stdout}${stderr}`).toBe(0)
    }
  }
  const stepDown = () => set.stepDown()
  /** Until the end of the test. */
  const killPrimary = async () => {
    const primary = await set.primary()
    onTestFinished(async () => {
      await primary.restart()
      await set.healthy()
    })
    await primary.kill()
  }

  test('commands that read and setup continue through an election', async () => {
    await through(stepDown, ['status'], ['setup'])
    await set.healthy()
    await through(stepDown, ['verify', '--target', '2'], ['nodes'])
    await set.healthy()
  })

  test('a rotation is started, paused, resumed and cancelled during elections', async () => {
    const start = ['rotate', '--to-version', '2', '--detach', '--max-rate', '1']
    await through(stepDown, start)
    await set.healthy()
    // While heartbeats wait for a primary, verify may refuse a rotation as not-ready. It is then started again.
    const isRewrapping = async () => {
      const running = await runningRotation(fleet.store)
      if (running === null) await fleet.cli(...start)
      return running?.phase === 'rewrap'
    }
    await fleet.until('no rotation re-wraps', isRewrapping, 60_000)
    for (const args of [['pause'], ['resume']]) {
      await through(stepDown, args)
      await set.healthy()
    }
    const cancelled = fleet.cli('cancel')
    await set.stepDown()
    expect(await cancelled).toMatchObject({ code: 0, json: { outcome: 'cancelled' } })
    await set.healthy()
  })

  test('a rotation completes although the primary is killed', async () => {
    const rotation = fleet.start('rotate', '--to-version', '2', '--max-rate', '1')
    await fleet.rewrapped(1)
    await through(killPrimary, ['status'], ['setup'], ['rate', '2'])
    await fleet.must('rate', '0')
    expect(await rotation.end()).toMatchObject({
      code: 0,
      json: { outcome: 'completed', remaining: 0, quarantined: 0 },
    })
    expect(await fleet.verifyRecords()).toEqual({ 2: 200 })
  })

  test('a removal continues through an election', async () => {
    const removal = fleet.cli('remove', '--version', '1')
    await set.stepDown()
    expect(await removal).toMatchObject({ code: 0, json: { state: 'destroyed' } })
    await set.healthy()
  })

  test('a statement waits for the next primary when the old one is killed', async () => {
    const store = await openStore({ uri: set.uri, database: fleet.install })
    try {
      await killPrimary()
      const made = store.db.createCollection('made_in_an_election')
      await expect(made).resolves.toBeDefined()
    } finally {
      await store.close()
    }
  })
})
