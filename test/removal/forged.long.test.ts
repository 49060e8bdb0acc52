import { fileURLToPath } from 'node:url'
import { WorkflowNotFoundError } from '@temporalio/client'
import { NativeConnection, Worker } from '@temporalio/worker'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { queues, workflowIds, workflowTypes } from '../../contracts/names.ts'
import { hasFence } from '../../store/fence.ts'
import { chainedAudit } from '../support/chained-audit.ts'
import { insertTask } from '../../store/kek-tasks.ts'
import { readVersions } from '../../store/kek-versions.ts'
import { openRemoval } from '../../store/removal-requests.ts'
import { openFleet, type Fleet } from '../support/fleet.ts'
import { places } from '../support/fleet-records.ts'
import { freshName } from '../support/fresh.ts'
import type { ForgedStep } from './forging-workflow.ts'
import { quietRuntime } from '../support/quiet-runtime.ts'

quietRuntime()

const workflowsPath = fileURLToPath(new URL('./forging-workflow.ts', import.meta.url))
const [{ collection, field }] = places

describe.skipIf(inject('softhsm') === null)('a forged removal', () => {
  let fleet: Fleet
  /** The id of an operator's task, as histories show it. */
  let task: string
  beforeAll(async () => {
    const removal = { backup_window: '30d', undo_window: '10m' }
    fleet = await openFleet({ provider: 'pkcs11', nodes: ['vm-a'], config: { removal } })
    await fleet.fill(30)
    task = await insertTask(fleet.store, { kind: 'remove', by: 'alice' })
  })
  afterAll(async () => {
    await fleet.close()
  })

  /** Every member that a step might read, under current and earlier names. */
  const claims = () => ({
    install: fleet.identity,
    task,
    requestedBy: 'root@prod',
    reason: 'forged',
    guardRun: 1,
    undoWindowMs: 0,
    backupWindowMs: 0,
    afterMs: 0,
    approvalsRequired: 0,
    fenced: true,
    destroyHsmKey: true,
    acceptQuarantine: true,
    withoutFence: true,
  })

  async function forge(requests: readonly string[]): Promise<string[]> {
    const control = queues.control(fleet.identity)
    const named = ['requestRemoval', 'fenceRemoval', 'beginGuardRun', 'destroyVersion']
    const steps = requests.flatMap((request) =>
      [1, 2].flatMap((version): ForgedStep[] => {
        const input = { ...claims(), version, request }
        return [
          ...named.map((name) => ({ queue: control, name, input })),
          { queue: queues.rewrap(fleet.identity), name: 'destroyHsmKey', input },
        ]
      }),
    )
    const connection = await NativeConnection.connect({ address: inject('temporalAddress') })
    const taskQueue = freshName('forger')
    try {
      const worker = await Worker.create({ connection, taskQueue, workflowsPath })
      return await worker.runUntil(
        fleet.temporal.workflow.execute<(steps: ForgedStep[]) => Promise<string[]>>('forge', {
          taskQueue,
          workflowId: freshName('forge'),
          args: [steps],
        }),
      )
    } finally {
      await connection.close()
    }
  }

  async function nothingIsGone(by: Record<number, number>): Promise<void> {
    expect(await fleet.verifyRecords()).toEqual(by)
    for (const row of await readVersions(fleet.store)) expect(row.destroyed_at).toBeNull()
    const entries = await chainedAudit(fleet.store)
    for (const { action, actor } of entries) {
      expect(['version-destroyed', 'hsm-key-destroyed']).not.toContain(action)
      expect(actor).not.toContain('root@prod')
    }
    const fence = { collection, fields: [field], version: 2 }
    expect(await hasFence(fleet.store, fence)).toBe(false)
  }

  test('of the active version, for another version’s request or for no request destroys nothing', async () => {
    // An operator’s request for an unused version, whose id the attacker uses.
    const request = freshName('asked')
    await openRemoval(fleet.store, {
      request,
      version: 2,
      requestedBy: 'alice',
      afterMs: 3_600_000,
      destroyHsmKey: false,
      acceptQuarantine: false,
      withoutFence: false,
    })
    const answers = await forge([request])
    expect(answers).toHaveLength(10)
    await nothingIsGone({ 1: 30 })
    await fleet.must('remove', '--version', '2', '--undo')
  })

  test('of a version within its windows waits for the windows of the settings', async () => {
    await fleet.must('rotate', '--to-version', '2')
    const request = freshName('asked')
    await openRemoval(fleet.store, {
      request,
      version: 1,
      requestedBy: 'alice',
      afterMs: 0,
      destroyHsmKey: false,
      acceptQuarantine: false,
      withoutFence: false,
    })
    await forge([request])
    await nothingIsGone({ 2: 30 })
    await forged({ version: 1, request })
    await nothingIsGone({ 2: 30 })
  })

  test('of a request that was never written does nothing', async () => {
    await forge([freshName('made-up')])
    await nothingIsGone({ 2: 30 })
    await forged({ version: 2, request: freshName('made-up') })
    await nothingIsGone({ 2: 30 })
  })

  /** The workflow itself, with the attacker's input. */
  async function forged(input: { version: number; request: string }): Promise<void> {
    const handle = await fleet.temporal.workflow.start(workflowTypes.remove, {
      workflowId: workflowIds.remove(fleet.identity, input.version),
      taskQueue: queues.control(fleet.identity),
      args: [{ ...claims(), ...input }],
    })
    await fleet.until('it takes no step', async () => {
      const { events } = (await handle.fetchHistory()) as { events?: unknown[] }
      return (events?.length ?? 0) > 4
    })
    // If it has ended by itself, it was refused.
    await handle.terminate().catch((error: unknown) => {
      if (!(error instanceof WorkflowNotFoundError)) throw error
    })
  }
})
