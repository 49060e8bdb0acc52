import type { ClientSession } from 'mongodb'
import { beforeEach, expect, test } from 'vitest'
import { chainAudit, chainAuditFirst, waitingAudit } from '../../store/audit-chain.ts'
import { recordAudit } from '../../store/audit-outbox.ts'
import { listAudit, verifyAudit } from '../../store/kek-audit.ts'
import { insertInstall } from '../../store/kek-install.ts'
import { keystore } from '../../store/keystore.ts'
import { inTransaction, transactionOptions } from '../../store/transaction.ts'
import { otherProcess, testStore } from './support.ts'

const store = await testStore()
const other = await otherProcess(store)
const entry = (subject: string) => ({ actor: 'alice', action: 'tested', subject, details: {} })
const subjects = async () => (await listAudit(store)).map(({ subject }) => subject)

beforeEach(async () => {
  for (const of of [keystore.audit, keystore.auditOutbox, keystore.install]) {
    await of(store).deleteMany({})
  }
})

/** A transaction that is left open, as by a process that was frozen in it. */
async function frozenIn(
  write: (session: ClientSession) => Promise<unknown>,
): Promise<{ thaw: () => Promise<void>; die: () => Promise<void> }> {
  const session = other.client.startSession()
  session.startTransaction(transactionOptions)
  await write(session)
  const ended = async (end: Promise<void>) => {
    await end
    await session.endSession()
  }
  return {
    thaw: () => ended(session.commitTransaction()),
    die: () => ended(session.abortTransaction()),
  }
}

test('an act that is not committed leaves no entry', async () => {
  const failing = inTransaction(store, async (session) => {
    await recordAudit(store, entry('v1'), session)
    throw new Error('the process died')
  })
  await expect(failing).rejects.toThrow('died')
  expect(await chainAudit(store)).toBe('done')
  expect(await subjects()).toEqual([])
})

test('an act that is frozen before its commit holds up no other act, and comes later', async () => {
  const frozen = await frozenIn((session) => recordAudit(other, entry('frozen'), session))
  const began = performance.now()
  for (const subject of ['v1', 'v2', 'v3']) {
    await inTransaction(store, (session) => recordAudit(store, entry(subject), session))
    expect(await chainAudit(store)).toBe('done')
  }
  expect(performance.now() - began).toBeLessThan(15_000)
  expect(await subjects()).toEqual(['v1', 'v2', 'v3'])
  await frozen.thaw()
  await chainAuditFirst(store)
  expect(await subjects()).toEqual(['v1', 'v2', 'v3', 'frozen'])
  expect(await verifyAudit(store)).toMatchObject({ ok: true, entries: 4 })
})

test.each(['dies', 'thaws'] as const)(
  'a chainer that is frozen holds up no act; when it %s, each entry is chained once',
  async (end) => {
    for (const subject of ['v1', 'v2']) await recordAudit(store, entry(subject))
    // What chainBatch writes, in its order.
    const frozen = await frozenIn(async (session) => {
      const [first] = await keystore.auditOutbox(other).find({}, { session }).toArray()
      const { _id, ...told } = first!
      const sealed = { ...told, prev: '', hash: '' }
      await keystore.audit(other).insertOne({ _id: 1, ...sealed }, { session })
      await keystore.auditOutbox(other).deleteOne({ _id }, { session })
    })
    await inTransaction(store, (session) => recordAudit(store, entry('v3'), session))
    expect(await chainAudit(store)).toBe('busy')
    expect(await subjects()).toEqual([])
    if (end === 'dies') await frozen.die()
    else await frozen.thaw()
    await chainAuditFirst(store)
    expect(await subjects()).toEqual(['v1', 'v2', 'v3'])
    expect(await keystore.auditOutbox(store).countDocuments()).toBe(0)
  },
)

test('entries are chained oldest first', async () => {
  for (const subject of ['v1', 'v2', 'v3']) await recordAudit(store, entry(subject))
  const { _id } = (await keystore.auditOutbox(store).findOne({ subject: 'v3' }))!
  await keystore.auditOutbox(store).updateOne({ _id }, { $set: { at: new Date(0) } })
  await chainAuditFirst(store)
  expect(await subjects()).toEqual(['v3', 'v1', 'v2'])
})

test('an entry that cannot be chained is overdue; an old one that can be is not', async () => {
  await recordAudit(store, entry('v1'))
  await recordAudit(store, entry('v2'))
  await keystore.auditOutbox(store).updateMany({}, { $set: { at: new Date(0) } })
  await keystore.auditOutbox(store).updateOne({ subject: 'v2' }, { $set: { action: '' } })
  expect(await waitingAudit(store)).toEqual({ entries: 1, overdue: 1 })
  expect(await subjects()).toEqual(['v1'])
})

test('with an install, an empty chain is broken at 1', async () => {
  expect(await verifyAudit(store)).toEqual({ entries: 0, ok: true, brokenAt: null })
  await insertInstall(store, { name: 'payments', created_by: 'alice' })
  await chainAuditFirst(store)
  expect((await listAudit(store)).map(({ action }) => action)).toEqual(['install'])
  expect(await verifyAudit(store)).toMatchObject({ ok: true })
  await keystore.audit(store).deleteMany({})
  expect(await verifyAudit(store)).toEqual({ entries: 0, ok: false, brokenAt: 1 })
})
