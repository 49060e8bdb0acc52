import { createHash } from 'node:crypto'
import { beforeEach, describe, expect, test } from 'vitest'
import { chainAudit, chainAuditFirst } from '../../store/audit-chain.ts'
import { auditHash } from '../../store/audit-hash.ts'
import { recordAudit } from '../../store/audit-outbox.ts'
import { listAudit, verifyAudit } from '../../store/kek-audit.ts'
import { keystore } from '../../store/keystore.ts'
import { otherProcess, testStore } from './support.ts'

const store = await testStore()
const other = await otherProcess(store)
const entry = (n: number, details: object = { n }) => ({
  actor: 'alice',
  action: 'tested',
  subject: `v${n}`,
  details,
})

beforeEach(async () => {
  await keystore.audit(store).deleteMany({})
  await keystore.auditOutbox(store).deleteMany({})
})

async function append(one: ReturnType<typeof entry>) {
  await recordAudit(store, one)
  expect(await chainAudit(store)).toBe('done')
  return (await listAudit(store)).at(-1)!
}

describe('the audit', () => {
  test('is empty and intact at first', async () => {
    expect(await verifyAudit(store)).toEqual({ entries: 0, ok: true, brokenAt: null })
  })

  test('hashes the RFC 8785 form of an entry without its hash', async () => {
    const done = await append(entry(1, { b: 1, a: 'é' }))
    const at = done.at.toISOString()
    const form =
      `{"_id":1,"action":"tested","actor":"alice","at":"${at}",` +
      `"details":{"a":"é","b":1},"prev":"${'0'.repeat(64)}","subject":"v1"}`
    expect(done.hash).toBe(createHash('sha256').update(form).digest('hex'))
    expect((await append(entry(2))).prev).toBe(done.hash)
  })

  test('has no gap, no fork and no doubled entry after concurrent acts and chainers of two processes', async () => {
    const acts = Array.from({ length: 250 }, (_, n) =>
      recordAudit(n % 2 === 0 ? store : other, entry(n)),
    )
    const chainers = [store, other, store, other].map(async (one) => {
      for (let n = 0; n < 5; n += 1) await chainAuditFirst(one)
    })
    await Promise.all([...acts, ...chainers])
    await chainAuditFirst(store)
    const listed = await listAudit(store)
    expect(listed.map(({ _id }) => _id)).toEqual(Array.from({ length: 250 }, (_, n) => n + 1))
    expect(new Set(listed.map(({ subject }) => subject)).size).toBe(250)
    expect(await verifyAudit(store)).toEqual({ entries: 250, ok: true, brokenAt: null })
    expect(await keystore.auditOutbox(store).countDocuments()).toBe(0)
    expect((await listAudit(store, { limit: 3 })).map(({ _id }) => _id)).toEqual([248, 249, 250])
  })

  test('reads back what it hashed, for any JSON', async () => {
    const details = {
      big: 2 ** 52 + 1,
      long: 12345678901,
      minus: -0,
      half: 0.1,
      none: null,
      left: undefined,
      at: new Date(0),
      list: [1, { '10': 1, '2': [] }],
      bad: '\ud800',
      'a.b': { $c: 1 },
    }
    await append(entry(1, details))
    expect(await verifyAudit(store)).toMatchObject({ ok: true })
  })

  test.each([
    ['changed', 2, () => keystore.audit(store).updateOne({ _id: 2 }, { $set: { 'details.n': 7 } })],
    ['taken out', 3, () => keystore.audit(store).deleteOne({ _id: 3 })],
    ['taken off the front', 1, () => keystore.audit(store).deleteOne({ _id: 1 })],
    [
      're-hashed alone',
      5,
      async () => {
        const four = await keystore.audit(store).findOne({ _id: 4 })
        await keystore.audit(store).deleteOne({ _id: 4 })
        const { hash, ...unsealed } = { ...four!, actor: 'mallory' }
        expect(auditHash(unsealed)).not.toBe(hash)
        await keystore.audit(store).insertOne({ ...unsealed, hash: auditHash(unsealed) })
      },
    ],
  ] as const)('shows where an entry was %s', async (_, brokenAt, attack) => {
    for (let n = 1; n <= 6; n += 1) await append(entry(n))
    await attack()
    expect(await verifyAudit(store)).toMatchObject({ ok: false, brokenAt })
  })
})
