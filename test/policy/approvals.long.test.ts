import { afterAll, beforeAll, expect, test } from 'vitest'
import { requester } from '../../client/temporal/names.ts'
import { setPolicy, type PolicyRequest } from '../../client/policy/set.ts'
import { loadConfig } from '../../config/load-config.ts'
import { ApprovalMissing, type ApprovalRequestView } from '../../contracts/approvals.ts'
import { collections, queues, workflowIds, workflowTypes } from '../../contracts/names.ts'
import type { RotateInput, RotateResult } from '../../contracts/rotation.ts'
import type { PolicyView } from '../../contracts/views.ts'
import { insertTask } from '../../store/kek-tasks.ts'
import { readVersion } from '../../store/kek-versions.ts'
import { approverKey, type TestKey } from '../support/approvers.ts'
import { chainedAudit } from '../support/chained-audit.ts'
import { openFleet, type Fleet } from '../support/fleet.ts'

/** The Schedule looks every two seconds. One of alice and bob approves; rotations need one, and removals too. */

const lookMs = 2_000
const dayMs = 86_400_000
const [alice, bob] = ['alice', 'bob'].map(approverKey) as [TestKey, TestKey]
const rules: PolicyRequest = {
  everyMs: 90 * dayMs,
  atMs: null,
  timeZone: 'UTC',
  jitterMs: 0,
  window: null,
  maxWraps: null,
  maxRate: null,
  maxHsmCalls: 0,
  priority: 'rotation',
  removeAfterMs: 5_000,
  provision: true,
  lookMs,
}

let fleet: Fleet
beforeAll(async () => {
  const approvers = [alice, bob].map(({ name, ssh }) => ({ name, key: ssh }))
  const approvals = { approvers, remove: 1, rotate: 1, settings: 1, expires: '1h' }
  const removal = { backup_window: '0s', undo_window: '0s' }
  const config = { removal, approvals }
  fleet = await openFleet({ provider: 'env', nodes: ['vm-a'], versions: [1, 2, 3], config })
  await fleet.fill(20)
})
afterAll(async () => {
  await fleet.close()
})

const policies = () => fleet.store.db.collection<{ _id: string }>(collections.policy)
const shown = async () => (await fleet.must('policy', 'show'))['policy'] as PolicyView
const set = async (changes: Partial<PolicyRequest> = {}) =>
  await setPolicy(loadConfig({ file: fleet.config }), { ...rules, ...changes })
const open = async () => (await fleet.must('requests'))['requests'] as ApprovalRequestView[]

async function requestOf(change: () => Promise<unknown>): Promise<ApprovalRequestView> {
  const error: unknown = await change().catch((refusal: unknown) => refusal)
  if (!(error instanceof ApprovalMissing)) throw new Error('it was not refused', { cause: error })
  return error.request
}

async function approve({ id, text }: ApprovalRequestView, key: TestKey): Promise<void> {
  await fleet.must('approve', id, '--name', key.name, '--signature', key.sign(text))
}

/** The policy after a run at a date that comes now. */
async function ran(): Promise<PolicyView> {
  const before = await shown()
  await policies().updateOne({ _id: 'policy' }, [{ $set: { next_at: '$$NOW' } }])
  return await fleet.until(
    'no run of the policy ends',
    async () => {
      const policy = await shown()
      return policy.lastRuns.length > before.lastRuns.length ? policy : null
    },
    120_000,
  )
}

test('policy set needs the approvals of a rotation, for exactly its options', async () => {
  const request = await requestOf(() => set())
  expect(request).toMatchObject({ action: 'rotate', subject: 'policy', required: 1 })
  expect(request.options).toMatchObject({ everyMs: 90 * dayMs, removeAfterMs: 5_000 })
  expect((await fleet.cli('policy', 'show')).json.error.code).toBe('policy-missing')
  await approve(request, alice)
  expect((await requestOf(() => set({ maxRate: 9 }))).id).not.toBe(request.id)
  expect(await set()).toMatchObject({ paused: false })
  // It was used.
  expect((await requestOf(() => set())).id).not.toBe(request.id)
  for (const { id } of await open()) await fleet.must('requests', 'withdraw', id)
})

test('its runs rotate with these approvals, and a planned removal asks for its own', async () => {
  const policy = await ran()
  expect(policy.lastRun).toMatchObject({ outcome: 'completed', error: null })
  expect(await fleet.active()).toBe(2)
  const request = await fleet.until('no look asks for approvals', async () => {
    return (await open()).find(({ action }) => action === 'remove') ?? null
  })
  expect(request).toMatchObject({ subject: 'v1', requestedBy: 'policy', approvedBy: [] })
  expect((await readVersion(fleet.store, 1))?.removal).toBeNull()
  await approve(request, bob)
  await fleet.until(
    'the planned removal does not happen',
    async () => ((await readVersion(fleet.store, 1))?.destroyed_at ?? null) !== null,
    180_000,
  )
  const actions = (await chainedAudit(fleet.store)).map(({ action }) => action)
  expect(actions).toContain('request-used')
})

test('they count for nothing that its run has not planned, and no longer when the approver is gone', async () => {
  const run = { id: 'forged', cause: 'date', reason: 'forged', at: new Date(), outside: false }
  const rest = { until: new Date(), waits_for: null, ended_at: null, outcome: null, error: null }
  const plan = { main: true, check: 'all', from: 2, to: 3 }
  const attacks: [object, Partial<RotateInput>][] = [
    [{ id: 'r-other' }, {}],
    [{}, { check: 'none' }],
    [{}, { maxHsmCalls: 5 }],
    // Back to a version that was active.
    [
      { from: 3, to: 1 },
      { from: 3, to: 1 },
    ],
  ]
  // No look is to end the forged run.
  await fleet.must('policy', 'pause')
  for (const [edit, input] of attacks) {
    const rotations = [{ ...plan, id: 'r-planned', ...edit }]
    await policies().updateOne({ _id: 'policy' }, { $set: { run: { ...run, ...rest, rotations } } })
    expect(await rotated(input)).toMatchObject({ error: { code: 'approval-missing' } })
  }
  await policies().updateOne({ _id: 'policy' }, { $set: { run: null } })
  await fleet.must('policy', 'resume')
  expect(await fleet.active()).toBe(2)

  // Alice approved the policy. The file of every process has to agree with the change.
  const approvers = [{ name: 'bob', key: bob.ssh }]
  const removal = { backup_window: '0s', undo_window: '0s' }
  const approvals = { approvers, remove: 1, rotate: 1, settings: 1, expires: '1h' }
  const config = await fleet.writeConfig('bob', { removal, approvals })
  const change = await fleet.cli('--config', config, 'setup')
  await approve(change.json['request'] as ApprovalRequestView, bob)
  await fleet.must('--config', config, 'setup')
  await fleet.nodes.stop('vm-a')
  await fleet.nodes.start('vm-a', { config })
  const policy = await ran()
  expect(policy).toMatchObject({
    paused: true,
    lastRun: { error: { code: 'approval-missing' } },
  })
  expect(await fleet.active()).toBe(2)
})

async function rotated(changes: Partial<RotateInput>): Promise<RotateResult> {
  const input: RotateInput = {
    task: await insertTask(fleet.store, { kind: 'rotate', by: 'mallory' }),
    install: fleet.identity,
    rotation: 'r-planned',
    from: 2,
    to: 3,
    requestedBy: requester(),
    reason: 'forged',
    maxRate: 0,
    maxHsmCalls: 0,
    page: 50,
    shards: 1,
    check: 'all',
    ...changes,
  }
  const handle = await fleet.temporal.workflow.start(workflowTypes.rotate, {
    workflowId: workflowIds.rotate(fleet.identity),
    taskQueue: queues.control(fleet.identity),
    args: [input],
  })
  return (await handle.result()) as RotateResult
}
