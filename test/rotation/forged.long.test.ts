import { fileURLToPath } from 'node:url'
import { Client, Connection, WorkflowFailedError } from '@temporalio/client'
import { ActivityFailure, ApplicationFailure } from '@temporalio/common'
import { NativeConnection, Worker } from '@temporalio/worker'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { FinishAnswer } from '../../activities/finish-rotation.ts'
import { queues, workflowIds } from '../../contracts/names.ts'
import type { InstallIdentity } from '../../contracts/names.ts'
import { identityOf, readInstall } from '../../store/kek-install.ts'
import { insertTask } from '../../store/kek-tasks.ts'
import { readVersion } from '../../store/kek-versions.ts'
import { readHeartbeats } from '../../store/process-heartbeats.ts'
import { readQuestions } from '../../store/proof-question.ts'
import { currentRemoval } from '../../store/removal-requests.ts'
import { readPolicy } from '../../store/kek-policy.ts'
import { beginRun } from '../../store/policy-runs.ts'
import { readRotation, runningRotation } from '../../store/rotations.ts'
import { openFleet } from '../support/fleet.ts'
import type { Fleet } from '../support/fleet.ts'
import { freshName } from '../support/fresh.ts'
import { holdVerify } from '../support/holds.ts'
import { quiet } from '../support/quiet.ts'
import { quietRuntime } from '../support/quiet-runtime.ts'

quietRuntime()

/** Anyone who reaches the Temporal namespace can call any step with any input. Such a call leaves or promotes no version. */
describe('forged steps of a rotation', () => {
  let fleet: Fleet
  let install: InstallIdentity
  let connection: Connection
  let native: NativeConnection
  let worker: Worker
  let forging: Promise<void>
  /** A task's id is not secret: each history has one. */
  let task: string
  const forgers = freshName('forgers')

  beforeAll(async () => {
    fleet = await openFleet({ provider: 'env' })
    await fleet.fill(400)
    const row = await readInstall(fleet.store)
    if (row === null) throw new Error('nothing is installed')
    install = identityOf(row)
    task = await insertTask(fleet.store, { kind: 'rotate', by: 'mallory' })
    const address = inject('temporalAddress')
    connection = await Connection.connect({ address })
    native = await NativeConnection.connect({ address })
    const workflowsPath = fileURLToPath(new URL('../support/forger.ts', import.meta.url))
    worker = await Worker.create({ connection: native, taskQueue: forgers, workflowsPath })
    forging = worker.run()
  })
  afterAll(async () => {
    worker.shutdown()
    await forging
    await native.close()
    await connection.close()
    await fleet.close()
  })

  /** The answer, or the code of the refusal. */
  async function forge(
    activity: string,
    input: object,
    options: { workflowId?: string; queue?: 'control' | 'rewrap' } = {},
  ): Promise<unknown> {
    const { workflowId = freshName('forged'), queue = 'control' } = options
    const taskQueue = queues[queue](install)
    const start = {
      workflowId,
      taskQueue: forgers,
      args: [{ taskQueue, activity, input: { task, ...input } }],
    }
    try {
      return await new Client({ connection }).workflow.execute('forge', start)
    } catch (error) {
      if (!(error instanceof WorkflowFailedError)) throw error
      const { cause } = error
      const failure = cause instanceof ActivityFailure ? cause.cause : cause
      if (!(failure instanceof ApplicationFailure)) throw error
      return failure.type
    }
  }

  const steering = { paused: false, cancelled: false, rate: 0 }
  const running = async () => {
    const row = await runningRotation(fleet.store)
    if (row === null) throw new Error('no rotation runs')
    return row
  }
  /** Checks that the version was not left, and that each envelope opens. */
  const nothingIsLost = async () => {
    for (const version of [1, 2]) {
      const row = await readVersion(fleet.store, version)
      const { [version]: envelopes = 0 } = await fleet.census()
      if (envelopes > 0) expect(row?.left_at).toBeNull()
    }
    await fleet.verifyRecords()
  }

  test('of a rotation that does not run do nothing', async () => {
    const input = { install, rotation: 'r-forged', from: 1, to: 2, requestedBy: 'mallory' }
    const way = { reason: '', maxRate: 0, maxHsmCalls: 0, page: 10, shards: 1, check: 'none' }
    expect(await forge('preflight', { ...input, ...way })).toBe('rotation-running')
    const own = { workflowId: workflowIds.rotate(install) }
    for (const wrong of [{ page: 1e9 }, { from: { $gt: 0 } }, { check: 'never' }, { shards: -1 }]) {
      expect(await forge('preflight', { ...input, ...way, ...wrong }, own)).toBe('usage')
    }
    for (const rotation of ['r-forged', { $ne: null }, 7, null]) {
      const finish = { ...input, rotation, settled: true, silent: [], error: null }
      expect(await forge('finishRotation', finish)).toEqual({ state: 'unknown' })
      const forged = {
        ...input,
        rotation,
        epoch: 1,
        verified: [],
        phase: 'settle',
        pass: 0,
        nonce: 'forged',
        target: 2,
        met: [],
      }
      const asking = ['recordMet', ...(rotation === null ? [] : ['askFleet'])]
      for (const step of ['promote', 'recordPhase', 'planRanges', 'watchFleet', ...asking]) {
        expect(await forge(step, forged)).toBe('no-rotation')
      }
      const range = { ...input, rotation, range: '0-0', steering, page: 1, check: 'none' }
      expect(await forge('rewrapBatch', range, { queue: 'rewrap' })).toBe('no-rotation')
    }
    expect(await fleet.active()).toBe(1)
    await nothingIsLost()
  })

  test('of a rotation in verify change nothing, not even under its own workflow id', async () => {
    const hold = await holdVerify(fleet)
    const command = fleet.start('rotate', '--to-version', '2')
    await hold.reached()
    await fleet.until('nobody was asked', async () => (await running()).question != null)
    const { _id: rotation } = await running()
    await fleet.rotateWorkflow().terminate('by the test')
    await command.end()
    const own = { workflowId: workflowIds.rotate(install) }
    for (const step of ['planRanges', 'watchFleet']) {
      expect(await forge(step, { rotation, pass: 0 }, own)).toBe('not-active')
    }
    expect(await forge('recordPhase', { rotation, phase: 'settle' }, own)).toBe('not-active')
    expect(await forge('recordPhase', { rotation, phase: 'finish' }, own)).toBe('usage')
    const range = { rotation, range: '0-0', steering, from: 1, to: 2, page: 10, check: 'none' }
    expect(await forge('rewrapBatch', range, { queue: 'rewrap' })).toBe('not-active')
    const claim = { rotation, from: 1, to: 2, epoch: 1, verified: ['slow/held'] }
    expect(await forge('promote', claim)).toBe('no-rotation')
    expect(await forge('promote', claim, own)).toMatchObject({ promoted: false })
    await forgeAnswers(rotation, own)
    expect(await forge('promote', claim, own)).toMatchObject({ promoted: false })
    const finish = { rotation, settled: true, error: null }
    expect(await forge('finishRotation', finish, own)).toBe('not-active')
    expect(await fleet.active()).toBe(1)
    await hold.release()
    await nothingIsLost()
  })

  /** A claimed answer counts only with a heartbeat: `slow/held` lives and has not answered, `nobody/a` does not exist. */
  async function forgeAnswers(rotation: string, own: { workflowId: string }) {
    const { question } = await running()
    const nonce = question?.nonce
    const beating = await readHeartbeats(fleet.store)
    const met = [...beating.map(({ _id }) => _id), 'nobody/a']
    const claim = { rotation, nonce, met }
    expect(await forge('recordMet', claim)).toBe('no-rotation')
    expect((await running()).met).toEqual([])
    await fleet.until('nobody has answered', async () => {
      expect(await forge('recordMet', claim, own)).toBeUndefined()
      return (await running()).met?.length === beating.length - 1
    })
    expect((await running()).met).not.toContain('slow/held')
    expect(await forge('recordMet', { ...claim, nonce: 'another' }, own)).toBeUndefined()
    for (const wrong of [{ nonce: { $gt: '' } }, { nonce: '' }, { met: { 0: 'slow/held' } }]) {
      expect(await forge('recordMet', { ...claim, ...wrong }, own)).toBe('usage')
    }
    // Only a rotation's own workflow asks its question, and for the version of its row.
    const asked = { rotation, nonce: 'forged', target: 1 }
    expect(await forge('askFleet', asked)).toBe('no-rotation')
    expect((await running()).question).toEqual(question)
    for (const wrong of [{ nonce: { $ne: 1 } }, { nonce: 'n'.repeat(1_000) }, { nonce: null }]) {
      expect(await forge('askFleet', { ...asked, ...wrong }, own)).toBe('usage')
    }
    for (const target of [{ $gt: 0 }, 0, 1.5, 2 ** 31, null, '2']) {
      expect(await forge('askFleet', { rotation: null, nonce: 'forged', target })).toBe('usage')
    }
    expect(await readQuestions(fleet.store)).not.toContainEqual(
      expect.objectContaining({ nonce: 'forged' }),
    )
    await forge('askFleet', asked, own)
    expect(await readQuestions(fleet.store)).toContainEqual({ nonce: 'forged', target: 2 })
    expect(await running()).toMatchObject({ question: { nonce: 'forged' }, met: [] })
  }

  test('of a sweeping rotation do not end it, and neither they nor a reset move its phase back', async () => {
    const command = fleet.start('rotate', '--to-version', '2', '--max-rate', '1')
    await fleet.rewrapped(1)
    await fleet.must('pause')
    await quiet(fleet)
    const { _id: rotation } = await running()
    const finish = { rotation, from: 1, to: 2, settled: true, silent: [], error: null }
    expect(await forge('finishRotation', finish)).toBe('no-rotation')
    const cancelled = { ...finish, error: { code: 'cancelled', message: 'by mallory' } }
    expect(await forge('finishRotation', cancelled)).toBe('no-rotation')
    expect(await forge('recordPhase', { rotation, phase: 'verify' })).toBe('no-rotation')
    await fleet.rotateWorkflow().terminate('by the test')
    await command.end()
    const own = { workflowId: workflowIds.rotate(install) }
    // The fleet has not settled, or the sweep has not ended: finish returns this, whatever the input claims.
    const first = (await forge('finishRotation', finish, own)) as FinishAnswer
    expect(['fleet', 'tail']).toContain(first.state)
    expect(await forge('watchFleet', { rotation }, own)).toMatchObject({ settled: true })
    const second = (await forge('finishRotation', finish, own)) as FinishAnswer
    expect(second).toMatchObject({ state: 'tail' })
    await forge('recordPhase', { rotation, phase: 'verify' }, own)
    expect(await readRotation(fleet.store, rotation)).toMatchObject({
      phase: 'rewrap',
      ended_at: null,
    })
    await nothingIsLost()
  })

  test('that start its workflows with forged input lose nothing, and the next command continues', async () => {
    const client = new Client({ connection })
    const taskQueue = queues.control(install)
    const counters = { rewrapped: 1, superseded: 0, quarantined: 0, hsmCalls: 0 }
    const carried = {
      phase: 'settle',
      pauses: [],
      opensAt: null,
      isOutside: false,
      cancelled: false,
      maxRate: 0,
      total: 0,
      shown: { paused: false, pausedBy: null, pauses: [] },
      counters,
      startedAt: '',
      asked: 0,
      round: 0,
      facts: { epoch: 9, promote: false, total: 0, heartbeatMs: 1, leaseMs: 1, startedAt: '' },
      plan: null,
      fleet: { settled: true, awaiting: [], silent: [] },
      awaiting: [],
      silent: [],
    }
    const { _id: rotation } = await running()
    for (const forged of ['r-forged', rotation]) {
      const input = {
        install,
        task,
        rotation: forged,
        from: 2,
        to: 1,
        maxRate: 0,
        priority: 'rotation',
      }
      const start = { workflowId: freshName('forged'), taskQueue, args: [input, carried] }
      const result = (await client.workflow.execute('rotateKek', start).catch(() => null)) as {
        outcome: string
      } | null
      // A rotation without a row is refused; this workflow cannot end another's rotation.
      expect(result?.outcome ?? null).toBe(forged === rotation ? null : 'refused')
    }
    const range = { install, task, rotation, range: '7-7', collection: 'c', field: 'f', steering }
    const start = { workflowId: freshName('forged'), taskQueue, args: [range] }
    await expect(client.workflow.execute('rewrapRange', start)).rejects.toThrow()
    const verify = {
      workflowId: freshName('forged'),
      taskQueue,
      args: [{ install, task, target: 99 }],
    }
    await expect(client.workflow.execute('verifyFleet', verify)).rejects.toThrow()
    // Where no policy is set, no run of one begins.
    const run = { workflowId: freshName('forged'), taskQueue, args: [{ install, task }] }
    expect(await client.workflow.execute('scheduledRotation', run)).toEqual({ outcome: 'idle' })
    expect(await readVersion(fleet.store, 3)).toBeNull()
    await nothingIsLost()
    await fleet.must('rotate', '--to-version', '2')
    expect(await fleet.verifyRecords()).toEqual({ 2: 400 })
    expect(await readRotation(fleet.store, rotation)).toMatchObject({ outcome: 'failed' })
  })

  test('of a policy begin, go on with and end no run', async () => {
    await fleet.must('policy', 'set', '--every', '90d', '--remove-after', '30d')
    const policy = (await readPolicy(fleet.store))!
    for (const forgedTask of [task, policy.task]) {
      const look = await forge('lookAtPolicy', { task: forgedTask })
      expect(look).toEqual({ begun: false, removals: [] })
    }
    // A run that has begun belongs to another workflow.
    const begun = { ...policyRun, at: new Date(), until: new Date(Date.now() + 60_000) }
    const { next_at: nextAt } = policy
    expect(await beginRun(fleet.store, policy, begun, { nextAt, earlyAt: null })).toBe(true)
    const error = { code: 'internal', message: 'forged' }
    expect(await forge('nextPolicyStep', { task })).toEqual({ state: 'done' })
    expect(await forge('awaitMaterial', { task, error })).toEqual({ state: 'done' })
    const end = await forge('endPolicyRun', { task, error, met: null })
    expect(end).toEqual({ outcome: 'skipped', error: null, removals: [] })
    expect(await readPolicy(fleet.store)).toMatchObject({ paused: null, run: { id: begun.id } })
    expect(await currentRemoval(fleet.store, 1)).toBeNull()
    await fleet.must('policy', 'delete')
  })
})

const policyRun = {
  id: 'another',
  cause: 'date',
  reason: 'scheduled',
  outside: false,
  worker: 'vm-a',
} as const
