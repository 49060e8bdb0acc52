import type { ClientSession } from 'mongodb'
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from 'vitest'
import { queues, workflowIds, workflowTypes } from '../../contracts/names.ts'
import type {
  RemovalPhase,
  RemovalProgress,
  RemoveInput,
  RemoveResult,
} from '../../contracts/removal.ts'
import { hasFence } from '../../store/fence.ts'
import { insertTask } from '../../store/kek-tasks.ts'
import { readVersion } from '../../store/kek-versions.ts'
import { openRemoval, currentRemoval } from '../../store/removal-requests.ts'
import { openFleet, type Fleet } from '../support/fleet.ts'
import { places } from '../support/fleet-records.ts'
import { freshName } from '../support/fresh.ts'
import { openTcpProxy } from '../support/tcp-proxy.ts'

/** Operators terminate and reset in Temporal's UI, in each phase of a removal; the next command continues the request. */

let fleet: Fleet
beforeAll(async () => {
  const removal = { backup_window: '0s', undo_window: '10m' }
  fleet = await openFleet({ provider: 'env', nodes: ['vm-a'], config: { removal } })
  await fleet.fill(20)
  await fleet.must('rotate', '--to-version', '2')
})
afterAll(async () => {
  await fleet.close()
})

const [{ collection, field }] = places
const fence = { collection, fields: [field], version: 1 }

async function ask(afterMs = 0): Promise<RemoveInput> {
  const request = freshName('asked')
  await openRemoval(fleet.store, {
    request,
    version: 1,
    requestedBy: 'test',
    afterMs,
    destroyHsmKey: false,
    acceptQuarantine: false,
    withoutFence: false,
  })
  const task = await insertTask(fleet.store, { kind: 'remove', by: 'test' })
  return { install: fleet.identity, task, version: 1, request }
}

async function start(input: RemoveInput) {
  return await fleet.temporal.workflow.start(workflowTypes.remove, {
    workflowId: workflowIds.remove(fleet.identity, 1),
    taskQueue: queues.control(fleet.identity),
    args: [input],
    memo: { request: input.request },
  })
}

type Handle = Awaited<ReturnType<typeof start>>
async function reaches(handle: Handle, wanted: RemovalPhase): Promise<void> {
  await fleet.until(`it is not ${wanted}`, async () => {
    return (await handle.query<RemovalProgress>('progress')).phase === wanted
  })
}

/** Blocks `collMod` on the collection with a transaction, as a long one of an application does. */
async function holding(use: (release: () => Promise<void>) => Promise<void>): Promise<void> {
  await fleet.store.client.withSession(async (session: ClientSession) => {
    session.startTransaction()
    await fleet.store.db.collection(collection).updateOne({}, { $set: { held: 1 } }, { session })
    await use(async () => {
      if (session.inTransaction()) await session.commitTransaction()
    })
  })
}

async function undone(): Promise<void> {
  expect(await fleet.must('remove', '--version', '1', '--undo')).toMatchObject({
    state: 'deactivated',
  })
  expect(await hasFence(fleet.store, fence)).toBe(false)
  expect(await currentRemoval(fleet.store, 1)).toBeNull()
}

/** The pending request. */
const pendingRequest = async () => (await readVersion(fleet.store, 1))?.removal?.request

test('a removal terminated before a policy’s due time is replaced by an operator’s request', async () => {
  const input = await ask(3_600_000)
  const handle = await start(input)
  await reaches(handle, 'planned')
  await handle.terminate()
  expect(await fleet.must('remove', '--version', '1')).toMatchObject({ state: 'pending-removal' })
  expect(await pendingRequest()).not.toBe(input.request)
  await undone()
  // There is no second request: undo works although the workflow is gone.
  const again = await start(await ask(3_600_000))
  await again.terminate()
  await undone()
})

test('a removal terminated before its first step continues with the same request', async () => {
  const input = await ask()
  // Without a workflow, as if it had been terminated immediately.
  expect(await fleet.must('remove', '--version', '1')).toMatchObject({ state: 'pending-removal' })
  expect(await pendingRequest()).toBe(input.request)
  await undone()
})

test('remove continues a removal that was terminated before its fence, and shows what it waits for until it is pending', async () => {
  await holding(async (release) => {
    const input = await ask()
    const handle = await start(input)
    await reaches(handle, 'fencing')
    await fleet.until('no try is told', async () => {
      return ((await readVersion(fleet.store, 1))?.removal?.fence_try ?? null) !== null
    })
    await handle.terminate()
    const command = fleet.start('remove', '--version', '1')
    await fleet.until('it is not taken up', async () => {
      const { removal } = (await readVersion(fleet.store, 1)) ?? {}
      return (removal?.fence_try?.tries ?? 0) >= 1
    })
    await release()
    const { code, json, stderr } = await command.end()
    expect({ code, state: json['state'] }).toEqual({ code: 0, state: 'pending-removal' })
    expect(stderr).toContain('an open transaction holds up the fence')
    expect(await pendingRequest()).toBe(input.request)
    await undone()
  })
})

test('remove outlasts an outage of MongoDB while it waits', async () => {
  const proxy = await openTcpProxy(inject('mongoUri'))
  onTestFinished(() => proxy.close())
  const config = await fleet.writeConfig('proxied', { mongodb: { uri: proxy.uri } })
  await holding(async (release) => {
    const command = fleet.start('--config', config, 'remove', '--version', '1')
    await fleet.until('it does not wait', () =>
      Promise.resolve(command.stderr().includes('holds up the fence')),
    )
    proxy.cut()
    // A look fails after fifteen seconds; another has begun.
    await fleet.until('it does not look again', () =>
      Promise.resolve(/on kek_versions, for 1\d s[^]*on kek_versions/.test(command.stderr())),
    )
    proxy.heal()
    await release()
    const { code, json, stderr } = await command.end()
    expect({ code, state: json['state'] }, stderr).toEqual({ code: 0, state: 'pending-removal' })
    await undone()
  })
})

test('a removal is undone while its fence waits for a transaction, and the transaction continues', async () => {
  await holding(async (release) => {
    const command = fleet.start('remove', '--version', '1')
    await fleet.until('no try is told', async () => {
      return ((await readVersion(fleet.store, 1))?.removal?.fence_try ?? null) !== null
    })
    await undone()
    expect((await command.end()).json['state']).toBe('deactivated')
    await release()
  })
})

test('a removal terminated or reset within its window keeps its due date', async () => {
  const first = await fleet.must('remove', '--version', '1')
  const request = await pendingRequest()
  const handle = fleet.temporal.workflow.getHandle(workflowIds.remove(fleet.identity, 1))
  await handle.terminate()
  const second = await fleet.must('remove', '--version', '1')
  expect(second).toMatchObject({ state: 'pending-removal', dueAt: first.dueAt })
  expect(second.guards).toHaveLength(11)
  await reset(handle)
  const third = await fleet.must('remove', '--version', '1')
  expect(third).toMatchObject({ state: 'pending-removal', dueAt: first.dueAt })
  expect(await pendingRequest()).toBe(request)
  const other = await fleet.cli('remove', '--version', '1', '--without-fence')
  expect({ code: other.code, error: other.json.error.code }).toEqual({
    code: 3,
    error: 'removal-pending',
  })
  await undone()
  // A reset after the undo finds it withdrawn.
  await reset(handle)
  expect((await handle.result()) as RemoveResult).toMatchObject({ state: 'deactivated' })
})

test('a removal terminated at the end of its window is finished by the next command', async () => {
  await fleet.must('remove', '--version', '1')
  const handle = fleet.temporal.workflow.getHandle(workflowIds.remove(fleet.identity, 1))
  await handle.terminate()
  await fleet.store.db
    .collection('kek_versions')
    .updateOne({ _id: 1 as never }, { $set: { 'removal.due_at': new Date(0) } })
  expect(await fleet.must('remove', '--version', '1')).toMatchObject({ state: 'destroyed' })
  // A reset after the end finds everything done, and does nothing.
  await reset(handle)
  expect((await handle.result()) as RemoveResult).toMatchObject({ state: 'destroyed', error: null })
  const { entries } = await fleet.must('audit', 'list')
  expect(entries.filter(({ action }) => action === 'version-destroyed')).toHaveLength(1)
  expect(await fleet.verifyRecords()).toEqual({ 2: 20 })
})

/** Resets to the first workflow task, as the UI does. */
async function reset(handle: { workflowId: string; describe(): Promise<{ runId: string }> }) {
  const { runId } = await handle.describe()
  await fleet.temporal.workflowService.resetWorkflowExecution({
    namespace: fleet.temporal.options.namespace,
    workflowExecution: { workflowId: handle.workflowId, runId },
    reason: 'a test',
    workflowTaskFinishEventId: 4 as never,
    requestId: freshName('reset'),
  })
}
