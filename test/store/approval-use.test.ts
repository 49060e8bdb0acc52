import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import type { ApprovalSubject } from '../../contracts/approvals.ts'
import { noApprovals, type Approver, type FleetSettings } from '../../contracts/settings.ts'
import { addApproval, openRequest, readRequest } from '../../store/approval-requests.ts'
import { isSignedBy } from '../../store/approval-signatures.ts'
import { approvalText } from '../../store/approval-text.ts'
import { readApproval, recheckApproval, useOrRecheckApproval } from '../../store/approval-use.ts'
import type { ApprovalRequestDoc } from '../../store/approval-document.ts'
import { insertInstall, readInstall } from '../../store/kek-install.ts'
import { readSettings, writeSettings } from '../../store/kek-settings.ts'
import { keystore } from '../../store/keystore.ts'
import { settingsSubject } from '../../store/settings-approval.ts'
import { inTransaction } from '../../store/transaction.ts'
import { approverKey, type TestKey } from '../support/approvers.ts'
import { configured, testStore } from './support.ts'

/** Attacks on approvals, each by somebody who can write into `kek_requests`. */

const store = await testStore()
await insertInstall(store, { name: 'test', created_by: 'carol' })
const [alice, bob, eve] = ['alice', 'bob', 'eve'].map(approverKey) as [TestKey, TestKey, TestKey]
const approverOf = ({ name, raw }: TestKey): Approver => ({ name, key: raw })

const wanted: ApprovalSubject = {
  action: 'remove',
  subject: 'v1',
  options: { acceptQuarantine: null, census: 0, destroyHsmKey: false, withoutFence: false },
}

async function record(approvers: Approver[], remove = 2): Promise<void> {
  await keystore.settings(store).deleteMany({})
  const settings: FleetSettings = {
    collections: configured,
    fleet: { heartbeatMs: 1_000, leaseMs: 3_000, expireMs: 6_000 },
    removal: { backupWindowMs: 0, undoWindowMs: 0 },
    approvals: { ...noApprovals, approvers, remove, settings: remove },
  }
  await writeSettings(store, { settings, by: 'carol' })
}

beforeEach(async () => {
  await record([alice, bob, eve].map(approverOf))
  await keystore.requests(store).deleteMany({})
})

const opened = (by = 'carol@ops-1', subject = wanted) =>
  openRequest(store, subject, { by, expiresMs: 60_000 })
const textOf = async (row: ApprovalRequestDoc) =>
  approvalText((await readInstall(store))?.id ?? '', row)

async function approvedBy(row: ApprovalRequestDoc, ...keys: TestKey[]): Promise<void> {
  for (const key of keys) {
    const approval = { name: key.name, signature: key.sign(await textOf(row)) }
    expect(await addApproval(store, row._id, approval, `${key.name}@ops`)).toBe(true)
  }
}

const edit = (row: ApprovalRequestDoc, change: object) =>
  store.db.collection('kek_requests').updateOne({ _id: row._id as never }, change)
const counted = async () => (await readApproval(store, wanted)).by
const use = (usedFor = 'd-1', subject = wanted) =>
  inTransaction(store, (session) =>
    useOrRecheckApproval(store, subject, { usedFor, by: 'carol' }, session),
  )
const missing = { code: 'approval-missing' }

describe('a request', () => {
  test('with two of three approvals is used once', async () => {
    const row = await opened()
    await approvedBy(row, alice)
    await expect(use()).rejects.toMatchObject(missing)
    await approvedBy(row, eve)
    expect(await counted()).toEqual(['alice', 'eve'])
    await use()
    expect(await readRequest(store, row._id)).toMatchObject({ state: 'used', used_for: 'd-1' })
    // A repeated step of the same removal is verified again; another removal needs another request.
    await use()
    await expect(use('d-2')).rejects.toMatchObject(missing)
    const actions = await keystore.auditOutbox(store).distinct('action')
    expect(actions).toEqual(
      expect.arrayContaining(['request-opened', 'request-approved', 'request-used']),
    )
  })

  test('is used by one of two at once', async () => {
    await approvedBy(await opened(), alice, bob)
    const ends = await Promise.allSettled([use('d-1'), use('d-2'), use('d-3')])
    expect(ends.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  test('is open once for the same action, subject and options, in any order of members', async () => {
    const turned = { withoutFence: false, destroyHsmKey: false, census: 0, acceptQuarantine: null }
    const rows = await Promise.all([
      opened(),
      opened('dave'),
      opened('carol', { ...wanted, options: turned }),
    ])
    expect(new Set(rows.map(({ _id }) => _id)).size).toBe(1)
    const other = { ...wanted.options, destroyHsmKey: true }
    expect((await opened('carol', { ...wanted, options: other }))._id).not.toBe(rows[0]._id)
  })
})

describe('an approval does not count', () => {
  test('when it is forged, cut, or has other bytes', async () => {
    const row = await opened()
    const genuine = alice.sign(await textOf(row))
    const bytes = Buffer.from(genuine, 'base64')
    bytes[5] = (bytes[5] ?? 0) ^ 1
    const forged = [
      randomBytes(64).toString('base64'),
      Buffer.alloc(64).toString('base64'),
      bytes.toString('base64'),
      genuine.slice(0, -4),
      `${genuine}AAAA`,
      genuine.replace('==', ''),
      '',
    ]
    for (const signature of forged) {
      await edit(row, { $set: { approvals: [{ name: 'alice', signature, at: new Date() }] } })
      expect(await counted()).toEqual([])
    }
  })

  test('when its key is given twice, under two names', async () => {
    const row = await opened()
    await approvedBy(row, alice)
    const [approval] = (await readRequest(store, row._id))?.approvals ?? []
    await edit(row, { $push: { approvals: { ...approval, name: 'bob' } } as never })
    expect(await counted()).toEqual(['alice'])
    // Nor when the recorded approvers name the key twice, also in other words, which keyturn.yaml cannot.
    const words = alice.raw.replace(
      /.=$/,
      (end) => `${String.fromCharCode(end.charCodeAt(0) + 1)}=`,
    )
    expect(Buffer.from(words, 'base64').toString('base64')).toBe(alice.raw)
    for (const key of [alice.raw, words]) {
      await record([approverOf(alice), { key, name: 'mallory' }])
      expect(await counted()).toHaveLength(1)
      await expect(use()).rejects.toMatchObject(missing)
    }
  })

  test("when it is the requester's own, from any host and in any case", async () => {
    for (const by of ['alice@ops-1', 'ALICE@laptop', 'alice', 'alice@corp.example@ops-1']) {
      await keystore.requests(store).deleteMany({})
      const row = await opened(by)
      await approvedBy(row, alice, bob)
      expect(await counted()).toEqual(['bob'])
    }
  })

  test('when the signature is of another request, or of the same one opened again', async () => {
    const first = await opened()
    await approvedBy(first, alice, bob)
    const { approvals = [] } = (await readRequest(store, first._id)) ?? {}
    await edit(first, { $set: { state: 'withdrawn' } })
    const second = await opened()
    await edit(second, { $set: { approvals } })
    expect(await counted()).toEqual([])
  })

  test('when it was made for another keystore with the same name', async () => {
    const row = await opened()
    const foreign = approvalText(randomBytes(16).toString('hex'), row)
    const approval = { name: 'alice', signature: alice.sign(foreign), at: new Date() }
    await edit(row, { $set: { approvals: [approval] } })
    expect(await counted()).toEqual([])
  })

  test.each<[string, object]>([
    ['requested_by', { requested_by: 'dave@ops' }],
    ['requested_at', { requested_at: new Date(0) }],
    ['expires_at', { expires_at: new Date(Date.now() + 864e5) }],
    ['subject', { subject: 'v2' }],
    ['action', { action: 'rotate' }],
    ['options', { options: { ...wanted.options, destroyHsmKey: true } }],
  ])('when %s of the row was edited afterwards', async (_, members) => {
    const row = await opened()
    await approvedBy(row, alice, bob)
    await edit(row, { $set: members })
    const now = await readRequest(store, row._id)
    const { action = 'remove', subject = '', options = {} } = now ?? {}
    const { by } = await readApproval(store, { action, subject, options })
    expect(by).toEqual([])
    if (action !== 'rotate') {
      await expect(use('d-1', { action, subject, options })).rejects.toMatchObject(missing)
    }
  })

  test('when its approver was removed, until there are enough again', async () => {
    const row = await opened()
    await approvedBy(row, alice, bob)
    await record([alice, eve].map(approverOf))
    expect(await counted()).toEqual(['alice'])
    await approvedBy(row, eve)
    expect(await counted()).toEqual(['alice', 'eve'])
  })

  test('once the request has expired, but a used one is verified without its expiry', async () => {
    const row = await opened()
    await approvedBy(row, alice, bob)
    await use()
    const recheck = () =>
      inTransaction(store, (session) => recheckApproval(store, wanted, 'd-1', session))
    const signed = await openRequest(store, wanted, { by: 'carol', expiresMs: 60_000 })
    await edit(signed, { $set: { expires_at: new Date(0) } })
    const expired = await readRequest(store, signed._id)
    const text = await textOf(expired ?? signed)
    const approvals = [alice, bob].map((key) => ({
      name: key.name,
      signature: key.sign(text),
      at: new Date(),
    }))
    await edit(signed, { $set: { approvals } })
    expect(await counted()).toEqual([])
    await edit(signed, { $set: { state: 'used', used_for: 'd-9' } })
    await inTransaction(store, (session) => recheckApproval(store, wanted, 'd-9', session))
    await recheck()
    await record([alice, eve].map(approverOf))
    await expect(recheck()).rejects.toMatchObject(missing)
  })

  test('when the settings were edited in MongoDB: their hash does not fit', async () => {
    await store.db
      .collection('kek_settings')
      .updateOne({}, { $set: { 'settings.approvals.remove': 0 } })
    await expect(readApproval(store, wanted)).rejects.toMatchObject({ code: 'document-malformed' })
    await expect(use()).rejects.toMatchObject({ code: 'document-malformed' })
  })
})

describe('settings', () => {
  test('a change of approvals, removal or a collection that goes needs approvals, others do not', async () => {
    const before = (await readSettings(store))?.settings as FleetSettings
    const approvals = before.approvals ?? noApprovals
    const guarded: FleetSettings[] = [
      { ...before, approvals: { ...approvals, remove: 0, settings: 0 } },
      { ...before, removal: { ...before.removal, undoWindowMs: 1 } },
      { ...before, collections: [] },
      { ...before, collections: [{ ...before.collections[0]!, envelopes: ['other'] }] },
    ]
    for (const settings of guarded) {
      await expect(writeSettings(store, { settings, by: 'carol' })).rejects.toMatchObject(missing)
    }
    expect((await readSettings(store))?.settings).toEqual(before)
    const more = { name: 'more', envelopes: ['key'] }
    const free = { ...before, collections: [...before.collections, more] }
    await writeSettings(store, { settings: free, by: 'carol' })
    expect((await readSettings(store))?.settings).toEqual(free)
  })

  test('a change that was approved once needs approvals again when it is repeated', async () => {
    const strict = (await readSettings(store))?.settings as FleetSettings
    const { approvals = noApprovals } = strict
    const weak = { ...strict, approvals: { ...approvals, remove: 0, settings: 0 } }
    const change = async (settings: FleetSettings) =>
      await writeSettings(store, { settings, by: 'carol' })
    const subject = settingsSubject(strict, weak, [])
    if (subject === null) throw new Error('the change is not guarded')
    await approvedBy(await opened('carol', subject), alice, bob)
    await change(weak)
    await change(strict)
    await expect(change(weak)).rejects.toMatchObject(missing)
  })

  test('approvals for a collection that was replaced are for that one alone', async () => {
    const [first] = configured
    if (first === undefined) throw new Error('no collection')
    const as = (uuid: string) => ({ ...strict, collections: [{ ...first, uuid }] })
    const strict = (await readSettings(store))?.settings as FleetSettings
    await keystore.settings(store).updateOne({}, { $set: { settings: as('aa') } })
    const subject = settingsSubject(as('aa'), as('bb'), [])
    if (subject === null) throw new Error('the change is not guarded')
    await approvedBy(await opened('carol', subject), alice, bob)
    const change = async (uuid: string) =>
      await writeSettings(store, { settings: as(uuid), by: 'carol' })
    await expect(change('cc')).rejects.toMatchObject(missing)
    await change('bb')
  })
})

test('any change of a signed member changes the text, and no other text is signed', () => {
  const json = fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.integer(), fc.boolean()))
  const row = fc.record({
    _id: fc.string(),
    action: fc.constantFrom('remove' as const, 'rotate' as const),
    subject: fc.string(),
    options: json,
    requested_by: fc.string(),
    requested_at: fc.date({ noInvalidDate: true }),
    expires_at: fc.date({ noInvalidDate: true }),
  })
  fc.assert(
    fc.property(row, row, fc.string(), (one, other, install) => {
      const [text, second] = [approvalText(install, one), approvalText(install, other)]
      const signature = alice.sign(text)
      expect(isSignedBy(text, signature, alice.raw)).toBe(true)
      expect(isSignedBy(text, signature, bob.raw)).toBe(false)
      if (text !== second) expect(isSignedBy(second, signature, alice.raw)).toBe(false)
      expect(approvalText(`${install}0`, one)).not.toBe(text)
    }),
    { numRuns: 50 },
  )
})
