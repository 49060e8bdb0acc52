import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { requester } from '../../client/temporal/names.ts'
import type { ApprovalRequestView } from '../../contracts/approvals.ts'
import { queues, workflowIds, workflowTypes } from '../../contracts/names.ts'
import type { RemoveInput, RemoveResult } from '../../contracts/removal.ts'
import { openRequest } from '../../store/approval-requests.ts'
import { approvalText } from '../../store/approval-text.ts'
import { insertTask } from '../../store/kek-tasks.ts'
import { readVersion } from '../../store/kek-versions.ts'
import { removalSubject } from '../../store/removal-approval.ts'
import { currentRemoval, openRemoval } from '../../store/removal-requests.ts'
import { approverKey, type TestKey } from '../support/approvers.ts'
import { chainedAudit } from '../support/chained-audit.ts'
import { openFleet, type Fleet } from '../support/fleet.ts'
import { places } from '../support/fleet-records.ts'
import { freshName } from '../support/fresh.ts'
import { endWindow } from '../support/removal-window.ts'

/**
 * Attacks on approvals by somebody who can write in `kek_requests`, start workflows and run commands. Two of alice, bob, eve
 * and self must approve; self is the login that runs the commands.
 */

const [alice, bob, eve, mallory] = ['alice', 'bob', 'eve', 'mallory'].map(approverKey) as [
  TestKey,
  TestKey,
  TestKey,
  TestKey,
]
const self = { ...approverKey('self'), name: requester().split('@')[0] ?? '' }
const recorded = (keys: readonly TestKey[]) => ({
  approvers: keys.map(({ name, ssh }) => ({ name, key: ssh })),
  remove: 2,
  settings: 2,
})
const removal = { backup_window: '0s', undo_window: '1h' }
const remove = ['remove', '--version', '1'] as const
const asked = { destroyHsmKey: false, acceptQuarantine: false, withoutFence: false }

let fleet: Fleet
beforeAll(async () => {
  const approvals = recorded([alice, bob, eve, self])
  fleet = await openFleet({ provider: 'env', nodes: ['vm-a'], config: { removal, approvals } })
  await fleet.fill(20)
  await fleet.must('rotate', '--to-version', '2')
})
afterAll(async () => {
  await fleet.close()
})

const requests = () => fleet.store.db.collection<{ _id: string }>('kek_requests')
const signedBy = (...keys: TestKey[]) => ({
  over: (text: string) => keys.map((key) => approvalOf(key.name, key.sign(text))),
})

/** The open request of a command that lacks approvals. */
async function requestOf(...command: readonly string[]): Promise<ApprovalRequestView> {
  const { code, json } = await fleet.cli(...command)
  expect({ code, error: json.error.code }).toEqual({ code: 3, error: 'approval-missing' })
  return json['request'] as ApprovalRequestView
}

async function approved(...keys: TestKey[]): Promise<ApprovalRequestView> {
  const request = await requestOf(...remove)
  for (const key of keys) {
    const by = ['--name', key.name, '--signature', key.sign(request.text)]
    expect((await fleet.cli('approve', request.id, ...by)).code).toBe(0)
  }
  return request
}

async function nothingDone(): Promise<void> {
  expect(await readVersion(fleet.store, 1)).toMatchObject({ removal: null, destroyed_at: null })
  expect(await currentRemoval(fleet.store, 1)).toBeNull()
}

async function refusal(): Promise<string> {
  const entries = await chainedAudit(fleet.store)
  const { details } = entries.findLast(({ action }) => action === 'removal-undone') ?? {}
  return (details as { reason: string }).reason
}

/** As the command starts it, but without asking for approvals. */
async function removedByWorkflow(): Promise<RemoveResult> {
  const request = freshName('forged')
  await openRemoval(fleet.store, { ...asked, request, version: 1, requestedBy: 'bob', afterMs: 0 })
  const task = await insertTask(fleet.store, { kind: 'remove', by: 'bob' })
  const input: RemoveInput = { install: fleet.identity, task, version: 1, request }
  const handle = await fleet.temporal.workflow.start(workflowTypes.remove, {
    workflowId: workflowIds.remove(fleet.identity, 1),
    taskQueue: queues.control(fleet.identity),
    args: [input],
    memo: { request },
  })
  return (await handle.result()) as RemoveResult
}

describe('a removal is not approved', () => {
  beforeEach(async () => {
    await requests().deleteMany({})
  })

  test.each<[string, (request: ApprovalRequestView) => object[], string[]]>([
    [
      'by forged signatures',
      () => [alice, bob].map(({ name }) => approvalOf(name, randomBytes(64).toString('base64'))),
      [],
    ],
    ['by a key of nobody', ({ text }) => signedBy(alice, mallory).over(text), ['alice']],
    ["by the requester's own key", ({ text }) => signedBy(self, alice).over(text), ['alice']],
    [
      'by one key under two names',
      ({ text }) => [alice, bob].map(({ name }) => approvalOf(name, alice.sign(text))),
      ['alice'],
    ],
    [
      'by approvals of another keystore',
      ({ text }) => signedBy(alice, bob).over(text.replace(fleet.identity.id, '0'.repeat(32))),
      [],
    ],
    [
      'by approvals that expire later',
      ({ text, expiresAt }) =>
        signedBy(alice, bob).over(text.replace(expiresAt, '2100-01-01T00:00:00.000Z')),
      [],
    ],
  ])('%s', async (_, attack, counted) => {
    const request = await requestOf(...remove)
    await requests().updateOne({ _id: request.id }, { $set: { approvals: attack(request) } })
    expect(await requestOf(...remove)).toMatchObject({ id: request.id, approvedBy: counted })
    const { error } = await removedByWorkflow()
    expect(error).toMatchObject({
      code: 'approval-missing',
      message: 'version 1 may not be removed: approvals',
    })
    await nothingDone()
  })

  test('by approvals of another request, or of one with another option', async () => {
    const first = await approved(alice, bob)
    const row = await requests().findOne({ _id: first.id })
    if (row === null || !('approvals' in row)) throw new Error('no request')
    await fleet.must('requests', 'withdraw', first.id)
    const second = await requestOf(...remove)
    expect(second.id).not.toBe(first.id)
    await requests().updateOne({ _id: second.id }, { $set: { approvals: row.approvals } })
    expect(await requestOf(...remove)).toMatchObject({ id: second.id, approvedBy: [] })
    const given = ['--name', 'alice', '--signature', alice.sign(first.text)]
    const replayed = await fleet.cli('approve', second.id, ...given)
    expect(replayed.json.error.code).toBe('approval-invalid')

    // Approved without the fence, and edited to be asked with it.
    await fleet.must('requests', 'withdraw', second.id)
    const unfenced = await requestOf(...remove, '--without-fence')
    const approvals = signedBy(alice, bob).over(unfenced.text)
    await requests().updateOne({ _id: unfenced.id }, { $set: { approvals } })
    expect((await requestOf(...remove)).id).not.toBe(unfenced.id)
    await requests().deleteMany({ _id: { $ne: unfenced.id } })
    await requests().updateOne({ _id: unfenced.id }, { $set: { 'options.withoutFence': false } })
    expect(await requestOf(...remove)).toMatchObject({ id: unfenced.id, approvedBy: [] })
    await nothingDone()
  })

  test('once its request has expired, which the audit tells', async () => {
    const { collections } = (await fleet.store.db.collection('kek_settings').findOne({}))?.[
      'settings'
    ] as { collections: [] }
    const subject = await removalSubject(fleet.store, 1, asked, collections)
    const short = await openRequest(fleet.store, subject, { by: 'carol', expiresMs: 1 })
    const text = approvalText(fleet.identity.id, short)
    const approvals = signedBy(alice, bob).over(text)
    await requests().updateOne({ _id: short._id }, { $set: { approvals } })
    const late = ['--name', 'eve', '--signature', eve.sign(text)]
    expect((await fleet.cli('approve', short._id, ...late)).json.error).toMatchObject({
      code: 'approval-invalid',
      message: expect.stringContaining('expired') as string,
    })
    // A worker finds those that nobody meets.
    const unmet = { ...subject, options: { ...subject.options, census: 7 } }
    const alone = await openRequest(fleet.store, unmet, { by: 'carol', expiresMs: 1 })
    await fleet.until('no worker closes the request', async () => {
      return (await requests().findOne({ _id: alone._id, state: 'expired' } as never)) !== null
    })
    const next = await requestOf(...remove)
    expect(next).toMatchObject({ approvedBy: [], state: 'open' })
    expect(next.id).not.toBe(short._id)
    const entries = await chainedAudit(fleet.store)
    const expired = entries.filter(({ action }) => action === 'request-expired')
    expect(expired.map(({ subject: id }) => id).sort()).toEqual([short._id, alone._id].sort())
    expect(expired.find(({ subject: id }) => id === alone._id)).toMatchObject({
      actor: 'vm-a',
      details: { claimed: false },
    })
    await nothingDone()
  })
})

describe('within its window a removal is refused', () => {
  test('when an approver goes', async () => {
    await approved(alice, eve)
    await fleet.must(...remove)
    const config = await fleet.writeConfig('fewer', {
      removal,
      approvals: recorded([bob, eve, self]),
    })
    const setup = ['--config', config, 'setup']
    const change = await requestOf(...setup)
    for (const key of [alice, bob]) {
      const file = path.join(fleet.folder, `${key.name}.pem`)
      writeFileSync(file, key.pkcs8, { mode: 0o600 })
      await fleet.must('approve', change.id, '--key', file)
    }
    expect(await fleet.must(...setup)).toMatchObject({ settings: 'changed' })
    // The file of every process has to agree, so that only the approvals are missing.
    await fleet.nodes.stop('vm-a')
    await fleet.nodes.start('vm-a', { config })
    await endWindow(fleet, 1)
    expect(await refusal()).toBe('guard approvals')
    await nothingDone()
  })

  test('when more is in quarantine than was approved', async () => {
    const [{ collection, field }] = places
    const records = fleet.store.db.collection<{ _id: string; [field]: object }>(collection)
    await records.insertOne({ _id: 'odd-1', [field]: { kek_version: 'one' } })
    const accepting = [...remove, '--accept-quarantine']
    const request = await requestOf(...accepting)
    expect(request.options['acceptQuarantine']).toMatchObject({ rows: 1 })
    for (const key of [bob, eve]) {
      const by = ['--name', key.name, '--signature', key.sign(request.text)]
      await fleet.must('approve', request.id, ...by)
    }
    await fleet.must(...accepting)
    await records.insertOne({ _id: 'odd-2', [field]: { kek_version: 'one' } })
    await endWindow(fleet, 1, '--accept-quarantine')
    expect(await refusal()).toBe('guard approvals')
    await nothingDone()
    await records.deleteMany({ _id: { $in: ['odd-1', 'odd-2'] } })
    await fleet.must('quarantine', 'retry')
  })

  test('and destroyed when the same approvals still count', async () => {
    await approved(bob, eve)
    await fleet.must(...remove)
    await endWindow(fleet, 1)
    expect((await readVersion(fleet.store, 1))?.destroyed_at).not.toBeNull()
    expect(await fleet.must('audit', 'verify')).toMatchObject({ ok: true })
  })
})

function approvalOf(name: string, signature: string): object {
  return { name, signature, at: new Date() }
}
