import { randomBytes } from 'node:crypto'
import { MongoNetworkError, MongoServerError } from 'mongodb'
import { beforeEach, describe, expect, test } from 'vitest'
import { KeyturnError } from '../../contracts/errors.ts'
import { remainingOf } from '../../store/census.ts'
import type { PageEntry } from '../../store/envelope-pages.ts'
import { commitPage } from '../../store/page-transaction.ts'
import { listQuarantine } from '../../store/rewrap-quarantine.ts'
import { readRange, sumCounters } from '../../store/rewrap-ranges.ts'
import { closeRanges } from '../../store/range-takeover.ts'
import type { Store } from '../../store/store.ts'
import {
  accuse,
  certificates,
  configured,
  fill,
  page,
  pageInput,
  startSweep,
  take,
  testStore,
  type Sweep,
} from './support.ts'

const size = 40
const store: Store = await testStore()
const records = store.db.collection<{ _id: string }>(certificates)
let sweep: Sweep
let entries: PageEntry[]

beforeEach(async () => {
  await store.db.command({ collMod: certificates, validator: {} })
  await fill(
    store,
    Array.from({ length: size }, (_, n) => `r${String(n).padStart(3, '0')}`),
  )
  sweep = await startSweep(store)
  entries = (await page(store, null, 1000)).entries
})

const commit = (more = {}) =>
  commitPage(store, sweep.taken.session, pageInput(sweep, entries, more))
const under = (version: number) => records.countDocuments({ 'secret.key.kek_version': version })
const counters = () => sumCounters(store, sweep.rotation)

describe('a page', () => {
  test('writes cursor, envelopes and counters together and never changes the data', async () => {
    const before = await records
      .find({}, { projection: { name: 1, 'secret.key.iv': 1, 'secret.key.ciphertext': 1 } })
      .toArray()
    const input = pageInput(sweep, entries)
    const done = await commitPage(store, sweep.taken.session, input)
    expect(done).toEqual({ kind: 'committed', rewrapped: size, superseded: 0, quarantined: 0 })
    expect(await under(2)).toBe(size)
    const after = await records
      .find({}, { projection: { name: 1, 'secret.key.iv': 1, 'secret.key.ciphertext': 1 } })
      .toArray()
    expect(after).toEqual(before)
    const range = await readRange(store, sweep)
    expect(range?.cursor).toEqual({ v: 'r039' })
    expect(await counters()).toEqual({
      rewrapped: size,
      superseded: 0,
      quarantined: 0,
      hsmCalls: 120,
    })
    const one = await records.findOne({ _id: 'r000' })
    const update = input.updates[0]
    expect((one as unknown as { secret: { key: unknown } }).secret.key).toMatchObject({
      kek_version: 2,
      provider: 'env',
      dek_iv: { buffer: update?.dekIv },
      dek_wrapped: { buffer: update?.dekWrapped },
    })
  })

  test('leaves envelopes alone that the application changed or deleted, and counts them as superseded', async () => {
    await records.updateOne(
      { _id: 'r001' },
      {
        $set: { 'secret.key.dek_wrapped': randomBytes(48) },
      },
    )
    await records.updateOne({ _id: 'r002' }, { $set: { 'secret.key.kek_version': 2 } })
    await records.deleteOne({ _id: 'r003' })
    expect(await commit()).toMatchObject({ rewrapped: size - 3, superseded: 3 })
    expect(await counters()).toMatchObject({ rewrapped: size - 3, superseded: 3 })
    expect(await under(1)).toBe(1)
  })

  test('closes the range when it is the last page, which may be empty', async () => {
    const empty = { updates: [], newCursor: null, closes: true, counters: { hsmCalls: 0 } }
    expect(await commit(empty)).toMatchObject({ kind: 'committed', rewrapped: 0 })
    expect(await readRange(store, sweep)).toMatchObject({ closed: true })
    expect(await commit()).toEqual({ kind: 'replaced' })
  })

  test('is answered as committed and counted once when it is repeated', async () => {
    const input = pageInput(sweep, entries)
    await commitPage(store, sweep.taken.session, input)
    expect(await commitPage(store, sweep.taken.session, input)).toMatchObject({ kind: 'committed' })
    expect(await counters()).toMatchObject({ rewrapped: size, superseded: 0 })
  })
})

describe('a lost answer', () => {
  test('to a commit that happened is detected by the cursor, and the page is counted once', async () => {
    await records.deleteOne({ _id: 'r003' })
    // The commit itself cannot be repeated either: the session was killed.
    const session = sweep.taken.session
    const real = session.commitTransaction.bind(session)
    let calls = 0
    session.commitTransaction = async () => {
      calls += 1
      if (calls > 2) return real()
      if (calls === 1) await real()
      const error = new MongoNetworkError('connection closed')
      error.addErrorLabel(
        calls === 1 ? 'UnknownTransactionCommitResult' : 'TransientTransactionError',
      )
      throw error
    }
    const done = await commit()
    expect(calls).toBe(3)
    expect(done).toEqual({ kind: 'committed', rewrapped: size - 1, superseded: 1, quarantined: 0 })
    expect(await counters()).toMatchObject({ rewrapped: size - 1, superseded: 1, hsmCalls: 120 })
    session.commitTransaction = real
  })

  test('to a commit that did not happen leads to a repeat', async () => {
    const session = sweep.taken.session
    const real = session.commitTransaction.bind(session)
    let calls = 0
    session.commitTransaction = async () => {
      calls += 1
      if (calls > 1) return real()
      await session.abortTransaction()
      const error = new MongoNetworkError('connection closed')
      error.addErrorLabel('TransientTransactionError')
      throw error
    }
    expect(await commit()).toMatchObject({ rewrapped: size, superseded: 0 })
    session.commitTransaction = real
    expect(await counters()).toMatchObject({ rewrapped: size, superseded: 0, hsmCalls: 120 })
  })
})

describe('the attempt filter', () => {
  test('stops every write of a replaced attempt', async () => {
    const late = pageInput(sweep, entries)
    await take(store, sweep)
    expect(await commitPage(store, sweep.taken.session, late)).toEqual({ kind: 'replaced' })
    expect(await under(2)).toBe(0)
    expect(await counters()).toMatchObject({ rewrapped: 0, hsmCalls: 0 })
  })

  test('stops an attempt that was restored with an old cursor', async () => {
    await commit()
    const restored = pageInput(sweep, entries, { newCursor: { v: 'r010' } })
    expect(await commitPage(store, sweep.taken.session, restored)).toEqual({ kind: 'replaced' })
  })
  test('stops every attempt when the rotation has ended', async () => {
    const late = pageInput(sweep, entries)
    expect(await closeRanges(store, { rotation: sweep.rotation })).toBe(1)
    expect(await commitPage(store, sweep.taken.session, late)).toEqual({ kind: 'replaced' })
    expect(await under(2)).toBe(0)
  })
  test('is checked in each try: an attempt that is replaced during a conflict writes nothing', async () => {
    const session = sweep.taken.session
    const app = store.client.startSession()
    app.startTransaction()
    await records.updateOne({ _id: 'r020' }, { $set: { name: 'app' } }, { session: app })
    const late = commitPage(store, session, pageInput(sweep, entries))
    await take(store, sweep)
    await app.commitTransaction()
    await app.endSession()
    expect(await late).toEqual({ kind: 'replaced' })
    expect(await under(2)).toBe(0)
  })
  test('comes with a check of the lease in each try and before the commit', async () => {
    let asked = 0
    const leaseCheck = () => {
      asked += 1
      if (asked === 2) throw new KeyturnError('lease-expired', 'the lease has run out')
    }
    await expect(commit({ leaseCheck })).rejects.toMatchObject({ code: 'lease-expired' })
    expect(await under(2)).toBe(0)
    expect(sweep.taken.session.inTransaction()).toBe(false)
    expect(await commit()).toMatchObject({ kind: 'committed', rewrapped: size })
  })
})

describe('a conflict', () => {
  test('is retried with the same wraps until the application has finished', async () => {
    const app = store.client.startSession()
    app.startTransaction()
    await records.updateOne({ _id: 'r020' }, { $set: { name: 'app' } }, { session: app })
    const going = commit()
    const tried = await Promise.race([
      going,
      new Promise((resolve) => setTimeout(resolve, 60, 'waits')),
    ])
    expect(tried).toBe('waits')
    await app.commitTransaction()
    await app.endSession()
    expect(await going).toMatchObject({ rewrapped: size, superseded: 0 })
    expect(await records.findOne({ _id: 'r020' })).toMatchObject({ name: 'app' })
  })
  test('that lasts halves the page down to the one envelope, and everything is counted once', async () => {
    const app = store.client.startSession()
    app.startTransaction()
    await records.updateOne({ _id: 'r020' }, { $set: { name: 'app' } }, { session: app })
    const bad = entries[30]!
    const input = pageInput(sweep, entries)
    const going = commitPage(store, sweep.taken.session, {
      ...input,
      updates: input.updates.filter(({ id }) => id !== bad.id),
      quarantine: [accuse(bad)],
    })
    await expect.poll(() => under(2), { timeout: 60_000 }).toBe(20)
    expect((await readRange(store, sweep))?.cursor).toEqual({ v: 'r019' })
    await app.commitTransaction()
    await app.endSession()
    expect(await going).toEqual({
      kind: 'committed',
      rewrapped: size - 1,
      superseded: 0,
      quarantined: 1,
    })
    expect(await counters()).toEqual({
      rewrapped: size - 1,
      superseded: 0,
      quarantined: 1,
      hsmCalls: 120,
    })
    expect((await readRange(store, sweep))?.cursor).toEqual({ v: 'r039' })
  })
  test('with a document under constant majority writes is overcome', async () => {
    const stop = new AbortController()
    let writes = 0
    const hammer = (async () => {
      while (!stop.signal.aborted) {
        await records.updateOne({ _id: 'r007' }, { $inc: { n: 1 } })
        writes += 1
      }
    })()
    expect(await commit()).toMatchObject({ rewrapped: size, superseded: 0 })
    stop.abort()
    await hammer
    expect(await records.findOne({ _id: 'r007' })).toMatchObject({ n: writes })
  })
})

describe('a document that MongoDB refuses to store', () => {
  test('is quarantined as write-refused, and the rest of the page is written', async () => {
    await records.updateMany(
      { _id: { $in: ['r005', 'r006', 'r039'] } },
      {
        $set: { frozen: true },
      },
    )
    await store.db.command({
      collMod: certificates,
      validator: { $or: [{ frozen: { $ne: true } }, { 'secret.key.kek_version': 1 }] },
    })
    expect(await commit()).toEqual({
      kind: 'committed',
      rewrapped: size - 3,
      superseded: 0,
      quarantined: 3,
    })
    const rows = await listQuarantine(store, 1)
    expect(rows.filter((row) => row.rotation === sweep.rotation)).toMatchObject([
      {
        _id: { id: 'r005' },
        code: 'write-refused',
        message: expect.stringContaining('121') as string,
      },
      { _id: { id: 'r006' } },
      { _id: { id: 'r039' } },
    ])
    expect(await under(1)).toBe(3)
    expect(await remainingOf(store, configured, 1)).toBe(0)
  })
  test('is also found in a page of several commands', async () => {
    const large = 1_010
    await fill(
      store,
      Array.from({ length: large }, (_, n) => `r${String(n).padStart(4, '0')}`),
    )
    sweep = await startSweep(store)
    entries = (await page(store, null, large)).entries
    await records.updateOne({ _id: 'r1005' }, { $set: { frozen: true } })
    await store.db.command({
      collMod: certificates,
      validator: { $or: [{ frozen: { $ne: true } }, { 'secret.key.kek_version': 1 }] },
    })
    expect(await commit()).toMatchObject({ rewrapped: large - 1, quarantined: 1 })
    const rows = await listQuarantine(store)
    expect(rows.filter((row) => row.rotation === sweep.rotation)).toMatchObject([
      { _id: { id: 'r1005' }, code: 'write-refused' },
    ])
    expect(await under(1)).toBe(1)
  })
  test('is also quarantined when it is too large', async () => {
    const room = 16 * 1024 * 1024 - 700
    await records.updateOne(
      { _id: 'r011' },
      {
        $set: { 'secret.key.provider': 'x', blob: 'x'.repeat(room) },
      },
    )
    const grown = { dekIv: randomBytes(600) }
    const input = pageInput(sweep, entries)
    const updates = input.updates.map((update) =>
      update.id === 'r011' ? { ...update, ...grown } : update,
    )
    expect(await commitPage(store, sweep.taken.session, { ...input, updates })).toMatchObject({
      rewrapped: size - 1,
      quarantined: 1,
    })
    const [row] = (await listQuarantine(store)).filter(
      ({ rotation }) => rotation === sweep.rotation,
    )
    expect(row).toMatchObject({ _id: { id: 'r011' }, code: 'write-refused' })
    expect(row?.message).toContain('17419')
    await store.db.collection('rewrap_quarantine').deleteMany({})
  })
})

describe('quarantine rows of a page', () => {
  test('are counted only when new for this rotation', async () => {
    const bad = entries.slice(0, 3).map((entry) => accuse(entry))
    const first = { updates: [], quarantine: bad.slice(0, 2), newCursor: entries[1]!.cursor }
    expect(await commit(first)).toMatchObject({ quarantined: 2 })
    const second = {
      updates: [],
      quarantine: bad,
      oldCursor: entries[1]!.cursor,
      newCursor: entries[2]!.cursor,
    }
    expect(await commit(second)).toMatchObject({ quarantined: 1 })
    expect(await counters()).toMatchObject({ quarantined: 3 })
    const rows = await listQuarantine(store, 1)
    expect(rows.map((row) => [row._id.id, row.attempts])).toEqual([
      ['r000', 2],
      ['r001', 2],
      ['r002', 1],
    ])
    const next = await startSweep(store)
    sweep = next
    expect(await commit({ updates: [], quarantine: bad })).toMatchObject({ quarantined: 3 })
  })
})

describe('a page that fails the same way again and again', () => {
  /** The store, where each update of a record that `isBad` names throws. */
  const failing = (isBad: (id: unknown) => boolean, thrown: () => Error): Store => {
    const db = new Proxy(store.db, {
      get(target, name) {
        const own: unknown = Reflect.get(target, name)
        if (name !== 'command')
          return typeof own === 'function' ? (own.bind(target) as unknown) : own
        return async (command: { updates?: { q: { _id: unknown } }[] }, options: object) => {
          if (command.updates?.some(({ q }) => isBad(q._id))) throw thrown()
          return target.command(command, options)
        }
      },
    })
    return new Proxy(store, {
      get: (target, name) => (name === 'db' ? db : (Reflect.get(target, name) as unknown)),
    })
  }
  const through = (own: Store, more = {}) =>
    commitPage(own, sweep.taken.session, pageInput(sweep, entries, more))
  const refusal = () => new MongoServerError({ code: 17, errmsg: 'of this document' })

  test('is halved down to the one document, which is quarantined', async () => {
    const own = failing((id) => id === 'r017', refusal)
    expect(await through(own)).toMatchObject({ rewrapped: size - 1, quarantined: 1 })
    const rows = (await listQuarantine(store)).filter((row) => row.rotation === sweep.rotation)
    expect(rows).toMatchObject([{ _id: { id: 'r017' }, code: 'write-refused' }])
    expect(rows[0]?.message).toContain('of this document')
    expect(await under(2)).toBe(size - 1)
  })
  test.each([
    ['of the network', () => new MongoNetworkError('reset'), (id: unknown) => id === 'r017'],
    ['of a lease', () => new KeyturnError('lease-expired', 'over'), (id: unknown) => id === 'r017'],
    ['of a role', () => new MongoServerError({ code: 13, errmsg: 'no' }), () => true],
    ['of a full disk', () => new MongoServerError({ code: 14031, errmsg: 'full' }), () => true],
    ['of every document', refusal, () => true],
    ['of every record', refusal, (id: unknown) => typeof id === 'string'],
  ])('quarantines no envelope for a fault %s', async (_, thrown, isBad) => {
    await expect(through(failing(isBad, thrown))).rejects.toThrow(thrown().message)
    expect(await under(1)).toBe(size)
    const rows = (await listQuarantine(store)).filter((row) => row.rotation === sweep.rotation)
    expect(rows).toEqual([])
  })
})
