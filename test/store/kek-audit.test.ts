import { createHash } from 'node:crypto'
import { beforeEach, describe, expect, test } from 'vitest'
import { appendAudit, auditHash, listAudit, verifyAudit } from '../../store/kek-audit.ts'
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
})

describe('the audit', () => {
  test('is empty and intact at first', async () => {
    expect(await verifyAudit(store)).toEqual({ entries: 0, ok: true, brokenAt: null })
  })

  test('hashes the RFC 8785 form of an entry without its hash', async () => {
    const done = await appendAudit(store, entry(1, { b: 1, a: 'é' }))
    const at = done.at.toISOString()
    const form =
      `{"_id":1,"action":"tested","actor":"alice","at":"${at}",` +
      `"details":{"a":"é","b":1},"prev":"${'0'.repeat(64)}","subject":"v1"}`
    expect(done.hash).toBe(createHash('sha256').update(form).digest('hex'))
    expect((await appendAudit(store, entry(2))).prev).toBe(done.hash)
  })

  test('has no gap and no fork after 60 concurrent appends of two processes', async () => {
    await Promise.all(
      Array.from({ length: 60 }, (_, n) => appendAudit(n % 2 === 0 ? store : other, entry(n))),
    )
    expect((await listAudit(store)).map(({ _id }) => _id)).toEqual(
      Array.from({ length: 60 }, (_, n) => n + 1),
    )
    expect(await verifyAudit(store)).toEqual({ entries: 60, ok: true, brokenAt: null })
    expect((await listAudit(store, 3)).map(({ _id }) => _id)).toEqual([58, 59, 60])
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
    await appendAudit(store, entry(1, details))
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
    for (let n = 1; n <= 6; n += 1) await appendAudit(store, entry(n))
    await attack()
    expect(await verifyAudit(store)).toMatchObject({ ok: false, brokenAt })
  })
})
