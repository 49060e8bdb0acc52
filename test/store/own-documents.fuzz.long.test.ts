import { Binary, Int32, ObjectId, type Document } from 'mongodb'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { requestView } from '../../client/approvals/view.ts'
import { collections } from '../../contracts/names.ts'
import { noApprovals } from '../../contracts/settings.ts'
import {
  addApproval,
  listRequests,
  openRequest,
  readRequest,
} from '../../store/approval-requests.ts'
import { readApproval } from '../../store/approval-use.ts'
import { markBackup, readBackups } from '../../store/kek-backups.ts'
import { readForBeat } from '../../store/beat-reading.ts'
import { chainAudit, waitingAudit } from '../../store/audit-chain.ts'
import { recordAudit } from '../../store/audit-outbox.ts'
import { listAudit, verifyAudit } from '../../store/kek-audit.ts'
import { insertFirstActive } from '../../store/kek-active.ts'
import { insertInstall } from '../../store/kek-install.ts'
import { writeSettings } from '../../store/kek-settings.ts'
import { hasTask, insertTask } from '../../store/kek-tasks.ts'
import { readVersion, readVersions } from '../../store/kek-versions.ts'
import { markRotation } from '../../store/rotation-marks.ts'
import { requestRemoval } from '../../store/version-removal.ts'
import { writeRows } from '../../store/quarantine-rows.ts'
import { askForProof, readQuestions } from '../../store/proof-question.ts'
import { readRemoval, currentRemoval } from '../../store/removal-requests.ts'
import {
  countQuarantine,
  listQuarantine,
  releaseRow,
  recheckQuarantine,
} from '../../store/rewrap-quarantine.ts'
import { insertRanges, readPass, readRanges, sumCounters } from '../../store/rewrap-ranges.ts'
import { closeRanges } from '../../store/range-takeover.ts'
import { lastRotation, readRotation, runningRotation } from '../../store/rotations.ts'
import { inTransaction } from '../../store/transaction.ts'
import { seeNode } from '../../store/fleet-nodes.ts'
import { approverKey } from '../support/approvers.ts'
import { anything, changed, pathsOf } from './odd-documents.ts'
import {
  askRemoval,
  certificates,
  configured,
  field,
  fill,
  free,
  installVersion,
  startRotation,
  testStore,
} from './support.ts'

/** Any content of a keystore document leads to one of these: a coded refusal that names it, or a row that stays by name. */

const store = await testStore()
const bob = approverKey('bob')
const fleet = { heartbeatMs: 1_000, leaseMs: 3_000, expireMs: 60_000 }

await insertInstall(store, { name: 'fuzz', created_by: 'ann' })
await writeSettings(store, {
  settings: {
    collections: configured,
    fleet,
    removal: { backupWindowMs: 0, undoWindowMs: 0 },
    approvals: { ...noApprovals, approvers: [{ name: 'bob', key: bob.raw }], remove: 1 },
  },
  by: 'ann',
})
await installVersion(store, 1)
await installVersion(store, 2)
await insertFirstActive(store, 1)
await fill(store, [1, 2])
const rotation = await startRotation(store)
await markRotation(store, 1, rotation)
const range = { collection: certificates, field, min: null, max: { v: new Int32(7) } }
await insertRanges(store, rotation, [{ range: '0-0', ...range }])
const request = await askRemoval(store, 2)
await askForProof(store, { nonce: 'n-1', target: 1, openMs: 60_000 })
await askForProof(store, { nonce: 'n-2', target: 2, openMs: 60_000 })
const task = await insertTask(store, { kind: 'rotate', by: 'ann' })
await seeNode(store, 'vm-a', 'host')
const told = { actor: 'ann', action: 'tested', subject: 'v1', details: { request } }
for (const name of [collections.audit, collections.auditOutbox])
  await store.db.collection(name).deleteMany({})
for (let n = 0; n < 3; n += 1) await recordAudit(store, told)
await chainAudit(store)
const place = { collection: certificates, field, rotation, version: 1 }
const accused = { id: new Int32(1), digest: Buffer.alloc(32, 1), code: 'malformed', message: 'x' }
await inTransaction(store, (session) => writeRows(store, session, place, [accused]))

const options = { acceptQuarantine: { rows: 1, sha256: 'ab' }, census: 0, destroyHsmKey: false }
const wanted = { action: 'remove', subject: 'v2', options } as const
const taken_at = new Date(0)
await markBackup(store, { _id: 'nightly', taken_at, keep_until: null, marked_by: 'ann' })
const asked = await openRequest(store, wanted, { by: 'ann', expiresMs: 3_600_000 })
const { text } = await requestView(store, asked)
await addApproval(store, asked._id, { name: 'bob', signature: bob.sign(text) }, 'bob')

interface AnyId extends Document {
  _id: unknown
}

interface Case {
  /** What is read; each alone. */
  reads: readonly (() => Promise<unknown>)[]
}

const beat = () => readForBeat(store, 'vm-a', 'host')

const cases: Record<string, Case> = {
  [collections.install]: { reads: [beat] },
  [collections.settings]: { reads: [beat] },
  [collections.active]: { reads: [beat] },
  [collections.versions]: { reads: [beat, () => readVersion(store, 1), () => readVersions(store)] },
  [collections.removals]: {
    reads: [
      () => readRemoval(store, request),
      () => currentRemoval(store, 2),
      () => requestRemoval(store, 'another', 0, 'vm-a', free),
    ],
  },
  [collections.rotations]: {
    reads: [
      () => readRotation(store, rotation),
      () => runningRotation(store),
      () => lastRotation(store),
    ],
  },
  [collections.ranges]: {
    reads: [() => readRanges(store, rotation), () => readPass(store, rotation, 0)],
  },
  [collections.backups]: { reads: [() => readBackups(store)] },
  [collections.requests]: {
    reads: [
      async () => {
        const row = await readRequest(store, asked._id)
        if (row !== null) await requestView(store, row)
      },
      async () => {
        const rows = await listRequests(store, { onlyOpen: true })
        for (const row of rows) await requestView(store, row)
      },
      async () => {
        const { by } = await readApproval(store, wanted)
        expect(['', 'bob']).toContain(by.join())
      },
    ],
  },
  [collections.questions]: { reads: [() => readQuestions(store)] },
}

describe.each(Object.entries(cases))('a document of %s', (name, { reads }) => {
  test('with any content is read, or refused by collection, _id and member', async () => {
    const rows = store.db.collection(name)
    const good = (await rows.findOne({}))!
    const shown = ['string', 'number'].includes(typeof good._id) ? String(good._id) : '{'
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...pathsOf(good)), anything, async (path, value) => {
        await rows.replaceOne({ _id: good._id }, changed(good, path, value))
        try {
          for (const read of reads) {
            await read().catch((error: unknown) => {
              expect(error).toMatchObject({ code: 'document-malformed' })
              const { message } = error as Error
              expect(message).toContain(`document "${shown}`)
              expect(message).toMatch(new RegExp(`of ${name} is malformed: "${path.split('.')[0]}`))
              expect(message.length).toBeLessThan(500)
            })
          }
        } finally {
          await rows.replaceOne({ _id: good._id }, good)
        }
      }),
      { numRuns: 60 },
    )
  })
})

describe('the keystore state that a heartbeat reads', () => {
  test('has no question when the question was edited, and the next question replaces it', async () => {
    const rows = store.db.collection(collections.questions)
    const good = (await rows.findOne({}))!
    let asked = 0
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...pathsOf(good)), anything, async (path, value) => {
        await rows.replaceOne({ _id: good._id }, changed(good, path, value))
        const before = await beat()
        const isWhole = await readQuestions(store).then(
          () => true,
          () => false,
        )
        expect(before.question !== null).toBe(isWhole)
        asked += 1
        await askForProof(store, { nonce: `f-${asked}`, target: 1, openMs: 60_000 })
        expect((await readQuestions(store)).at(-1)?.nonce).toBe(`f-${asked}`)
        expect((await beat()).question?.nonce).toBe(`f-${asked}`)
      }),
      { numRuns: 40 },
    )
  })

  test('uses only the documents with the expected _id, whatever others are there', async () => {
    const { active, install, settings, entries } = await beat()
    const names = [collections.install, collections.settings, collections.active]
    const others = names.map((name) => store.db.collection<AnyId>(name))
    for (const rows of others) await rows.insertOne({ _id: '0', version: 2, epoch: 99 })
    await store.db.collection<AnyId>(collections.audit).insertOne({ _id: 'zz' })
    expect(await beat()).toMatchObject({ active, install, settings, entries })
    for (const rows of others) await rows.deleteOne({ _id: '0' as never })
    await store.db.collection<AnyId>(collections.audit).deleteOne({ _id: 'zz' as never })
  })
})

describe('finish of a rotation', () => {
  test('closes and counts a range whatever its content', async () => {
    const rows = store.db.collection(collections.ranges)
    const good = (await rows.findOne({}))!
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...pathsOf(good)), anything, async (path, value) => {
        await rows.replaceOne({ _id: good._id }, { ...changed(good, path, value) })
        await closeRanges(store, { rotation })
        expect(await rows.countDocuments({ closed: { $ne: true } })).toBe(0)
        const counters = await sumCounters(store, rotation)
        for (const counter of Object.values(counters)) {
          expect(Number.isSafeInteger(counter) && counter >= 0).toBe(true)
        }
      }),
      { numRuns: 40 },
    )
    await rows.replaceOne({ _id: good._id }, good)
    await store.db
      .collection(collections.rotations)
      .updateOne({}, { $set: { shards_closed: false } })
  })
})

describe('a row of quarantine', () => {
  test('with any content stays in the list and in the count, is rewritten, and can be released', async () => {
    const rows = store.db.collection<AnyId>(collections.quarantine)
    const good = (await rows.findOne({}, { promoteValues: false }))!
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...pathsOf(good)), anything, async (path, value) => {
        await rows.deleteMany({})
        await rows.insertOne(changed(good, path, value) as AnyId)
        const [row, ...more] = await listQuarantine(store)
        expect(more).toEqual([])
        expect(row).toMatchObject({ _id: { collection: certificates, field } })
        expect(await countQuarantine(store)).toBeGreaterThanOrEqual(
          row?.code === 'document-malformed' ? 1 : 0,
        )
        await recheckQuarantine(store)
        if (row?.code !== 'document-malformed') return
        expect(row.message).toContain(`of ${collections.quarantine} is malformed: "${path}`)
        expect(await rows.countDocuments({})).toBe(1)
        await inTransaction(store, (session) => writeRows(store, session, place, [accused]))
        const [written] = await listQuarantine(store)
        expect(written).toMatchObject({ code: 'malformed', kek_version: 1, rotation })
        await rows.deleteMany({})
        await rows.insertOne(changed(good, path, value) as AnyId)
        expect(await releaseRow(store, row, told)).toBe(true)
        expect(await rows.countDocuments({})).toBe(0)
      }),
      { numRuns: 40 },
    )
  })

  test('with any _id stays in the list by name', async () => {
    const rows = store.db.collection<AnyId>(collections.quarantine)
    const good = (await rows.findOne({})) ?? {}
    for (const _id of [1, 'x'.repeat(1_000), { collection: 1, id: 1, field }, { id: 1 }]) {
      await rows.deleteMany({})
      await rows.insertOne({ ...good, _id })
      const [row] = await listQuarantine(store)
      expect(row).toMatchObject({ code: 'document-malformed' })
      expect(row!.message.length).toBeLessThan(400)
      expect(await releaseRow(store, row!, told)).toBe(true)
    }
  })
})

describe('an entry of the audit', () => {
  test('with any content breaks the chain at its number, stays in the list, and prevents no later entry', async () => {
    const rows = store.db.collection<AnyId>(collections.audit)
    const all = await rows.find().sort({ _id: 1 }).toArray()
    const good = all[1]!
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...pathsOf(good)), anything, async (path, value) => {
        await rows.deleteMany({})
        await rows.insertMany(all)
        await rows.replaceOne({ _id: 2 as never }, changed(good, path, value))
        expect(await verifyAudit(store)).toMatchObject({ entries: 3, ok: false, brokenAt: 2 })
        const listed = await listAudit(store)
        expect(listed.map(({ _id }) => _id)).toEqual([1, 2, 3])
        const [, second] = listed
        if (second?.action === 'malformed') {
          expect(second.subject).toContain(`"2" of kek_audit is malformed: "${path.split('.')[0]}`)
        }
      }),
      { numRuns: 40 },
    )
  })

  test('is appended after an entry that was edited or has no number', async () => {
    const rows = store.db.collection<AnyId>(collections.audit)
    for (const odd of ['zz', 1.5, new ObjectId(), new Binary(Buffer.alloc(9)), Number.MAX_VALUE]) {
      await rows.deleteMany({})
      await rows.insertOne({ _id: odd, hash: 7 })
      await store.db.collection(collections.auditOutbox).deleteMany({})
      await recordAudit(store, told)
      expect(await chainAudit(store)).toBe('done')
      expect(await verifyAudit(store)).toMatchObject({ entries: 2, ok: false })
      expect((await listAudit(store)).map(({ action }) => action).sort()).toEqual([
        'malformed',
        'tested',
      ])
      expect((await beat()).entries).toBe(odd === 1.5 ? 2 : 1)
    }
  })
})

describe('an entry in the outbox', () => {
  test('with any content is chained, or stays there and is overdue; it holds up no other', async () => {
    const outbox = store.db.collection(collections.auditOutbox)
    const rows = store.db.collection<AnyId>(collections.audit)
    await outbox.deleteMany({})
    await recordAudit(store, told)
    const good = (await outbox.findOne({}))!
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...pathsOf(good)), anything, async (path, value) => {
        await outbox.deleteMany({})
        await rows.deleteMany({})
        await outbox.insertOne(changed(good, path, value))
        await recordAudit(store, told)
        expect(await chainAudit(store)).toBe('done')
        const { entries, ok } = await verifyAudit(store)
        expect(ok).toBe(true)
        const left = 2 - entries
        expect(await waitingAudit(store)).toEqual({ entries: left, overdue: left })
      }),
      { numRuns: 60 },
    )
  })
})

describe('the row of a task', () => {
  test('is found whatever its content', async () => {
    const rows = store.db.collection(collections.tasks)
    const good = (await rows.findOne({}))!
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...pathsOf(good)), anything, async (path, value) => {
        await rows.replaceOne({ _id: good._id }, changed(good, path, value))
        expect(await hasTask(store, task)).toBe(true)
      }),
      { numRuns: 20 },
    )
  })
})
