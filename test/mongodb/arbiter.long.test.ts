import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { ReplicaSet } from '../../devstack/replica-set.ts'
import { insertTask } from '../../store/kek-tasks.ts'
import { limits } from '../../store/limits.ts'
import { readMembers } from '../../store/majority.ts'
import { inTransaction } from '../../store/transaction.ts'
import { keystore } from '../../store/keystore.ts'
import { openFleet } from '../support/fleet.ts'
import type { CliEnd, Fleet } from '../support/fleet.ts'
import { processes } from '../support/processes.ts'
import { replicaSet } from '../support/replica-set.ts'

/** Time limit of a command: the limit of a majority write, and its own work on a busy machine. */
const withinMs = limits.majority + 40_000
/** Swept at one a second: a rotation that outlasts its test until the rate is removed. */
const records = 200

describe('a primary, a secondary that is down, and an arbiter', () => {
  const started = replicaSet(['data', 'data', 'arbiter'])
  const spawned = processes()
  let set: ReplicaSet
  let fleet: Fleet

  beforeAll(async () => {
    set = started()
    fleet = await openFleet({ provider: 'env', nodes: ['vm-a'], mongoUri: set.uri })
    await fleet.fill(records)
  })
  afterAll(() => fleet.close())

  /** Until the end of the test, the primary answers but confirms no write. */
  const loseSecondary = async () => {
    onTestFinished(async () => {
      await set.members[1]!.restart()
      await set.healthy()
      await fleet.until('the worker does not come back', async () => {
        const { json } = await fleet.cli('nodes')
        return json.nodes.find(({ node }) => node === 'vm-a')?.live === true
      })
    })
    await set.members[1]!.kill()
    await fleet.until('the loss is not seen', async () => {
      return (await readMembers(fleet.store)).unconfirmedSince !== null
    })
  }

  const timed = async (...args: string[]): Promise<CliEnd> => {
    const began = performance.now()
    const end = await fleet.cli(...args)
    expect(performance.now() - began, args.join(' ')).toBeLessThan(withinMs)
    return end
  }

  const unconfirmed = {
    code: 'mongodb-unreachable',
    message: expect.stringMatching(/confirmed .*by a majority of its members/) as string,
    hint: expect.stringContaining('doctor') as string,
  }

  test('doctor warns of the arbiter before any member is down', async () => {
    const { json, code } = await fleet.cli('doctor')
    expect(json['checks']).toContainEqual({
      check: 'majority writes',
      state: 'warn',
      detail: 'confirmed, but 2 members hold data, 1 is an arbiter: with one of those down none is',
      cure: 'replace the arbiter by a member that holds data',
    })
    expect(code).toBe(0)
  })

  test('every command ends within seconds and reports that no majority confirms writes', async () => {
    await loseSecondary()
    const doctor = await timed('doctor')
    expect(doctor.code).toBe(4)
    expect(doctor.json['checks']).toContainEqual(
      expect.objectContaining({ check: 'majority writes', state: 'fail' }),
    )
    expect(doctor.stderr).not.toContain('start its worker')

    const changing = [
      'setup',
      'env-init --version 3',
      'verify --target 2',
      'rotate --to-version 2',
      'remove --version 2',
      'policy set --every 90d',
      'nodes expect vm-a',
    ].map((line) => line.split(' '))
    for (const args of changing) {
      const { code, json } = await timed(...args)
      expect({ args, code, error: json.error }).toEqual({ args, code: 4, error: unconfirmed })
    }

    const status = await timed('status')
    expect(status.code).toBe(0)
    expect(status.json['mongodb']).toEqual({ unconfirmedSince: expect.any(String) as string })
    expect(status.stderr).toContain('no write by a majority')
    expect(status.stderr).not.toContain('keyturn worker')
    const reading = [
      ['nodes'],
      ['scan'],
      ['scan', '--unwrap'],
      ['quarantine', 'list'],
      ['audit', 'list'],
      ['audit', 'verify'],
      ['rotate', '--to-version', '2', '--dry-run'],
    ]
    for (const args of reading) {
      const { code, stderr } = await timed(...args)
      expect({ args, code, stderr }).toMatchObject({ args, code: 0 })
    }
  })

  test('a rotation reports that it waits for MongoDB and since when, and continues by itself', async () => {
    const follower = fleet.start('rotate', '--to-version', '2', '--max-rate', '1')
    await fleet.rewrapped(1)
    onTestFinished(async () => {
      // The member is back by now.
      await fleet.must('rate', '0')
      expect(await follower.end()).toMatchObject({
        code: 0,
        json: { outcome: 'completed', remaining: 0, quarantined: 0 },
      })
      expect(await fleet.verifyRecords()).toEqual({ 2: records })
    })
    await loseSecondary()
    const since = /^mongodb has confirmed no write by a majority of its members since \d{4}-.*Z$/
    await fleet.until('status does not say what the steps wait for', async () => {
      const { rotation } = await fleet.must('status')
      const [first, ...steps] = rotation.awaiting
      expect(first).toMatch(since)
      expect(rotation.etaSeconds).toBeNull()
      expect(rotation.awaiting.join()).not.toContain('keyturn worker')
      return steps.some((line) => /mongodb: .*, for \d+ s|since \d{4}-.*Z/.test(line))
    })
    await fleet.until('the follower does not say it', () =>
      Promise.resolve(/waits for .*mongodb/.test(follower.stderr())),
    )
    // Its workflow continues, so messages reach it.
    for (const args of [['pause'], ['resume'], ['rate', '2']]) {
      const { code, stdout } = await timed(...args)
      expect({ args, code, stdout }).toMatchObject({ args, code: 0 })
    }
  })

  test('a running and a starting worker report it within seconds', async () => {
    await fleet.nodes.start('vm-b')
    const log = () => fleet.nodes.log('vm-b')
    await loseSecondary()
    await fleet.until('the running worker says nothing', async () =>
      /waits for mongodb: \w+ on process_heartbeats/.test(await log()),
    )
    await fleet.until('the heartbeat does not fail by itself', async () =>
      /heartbeat failed/.test(await log()),
    )
    const starting = spawned.worker('vm-c', fleet.config, { env: fleet.env })
    await starting.line('waits for mongodb')
    const { code, stderr } = await starting.exit(withinMs)
    expect(code).toBe(4)
    expect(stderr).toMatch(/error: mongodb .*has not confirmed a write by a majority/)
  })

  test('a write and a transaction fail within the limit, and are stored when the member is back', async () => {
    await loseSecondary()
    const { store } = fleet
    const began = performance.now()
    const task = insertTask(store, { kind: 'rotate', by: 'test' })
    await expect(task).rejects.toMatchObject({ code: 64 })
    const inserted = inTransaction(store, async (session) =>
      keystore.nodes(store).updateOne({ _id: 'vm-a' }, { $set: { kind: 'host' } }, { session }),
    )
    await expect(inserted).rejects.toMatchObject({ code: 50 })
    expect(performance.now() - began).toBeLessThan(2 * limits.majority + 30_000)
    await keystore.tasks(store).deleteOne({ by: 'test' }, { writeConcern: { w: 1 } })
  })
})
