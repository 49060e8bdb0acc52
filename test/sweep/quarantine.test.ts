import type { Collection, RunCommandOptions } from 'mongodb'
import { afterEach, describe, expect, test } from 'vitest'
import { Binary, Long } from 'mongodb'
import { listQuarantine } from '../../store/rewrap-quarantine.ts'
import type { Store } from '../../store/store.ts'
import {
  names,
  openFixture,
  type Fixture,
  type SealedEnvelope,
  type SealedRecord,
} from './fixture.ts'

let fixture: Fixture
afterEach(async () => fixture.close())

/** Seven ways in which an envelope can be bad. */
const corruptions: Record<string, { code: string; set: (secret: SealedEnvelope) => object }> = {
  r000003: {
    code: 'envelope-unreadable',
    set: ({ dek_wrapped }) => ({ 'secret.dek_wrapped': flipped(dek_wrapped) }),
  },
  r000020: {
    code: 'envelope-unreadable',
    set: ({ dek_iv }) => ({ 'secret.dek_iv': flipped(dek_iv) }),
  },
  r000021: { code: 'format-unknown', set: () => ({ 'secret.format': 2 }) },
  r000040: { code: 'wrong-provider', set: () => ({ 'secret.provider': 'pkcs11' }) },
  r000059: {
    code: 'malformed',
    set: () => ({ 'secret.dek_wrapped': new Binary(Buffer.alloc(47)) }),
  },
  r000060: { code: 'malformed', set: () => ({ 'secret.dek_wrapped': 'text' }) },
  r000099: { code: 'malformed', set: () => ({ 'secret.kek_version': 1.5 }) },
}

async function corrupt() {
  const records = fixture.store.db.collection<SealedRecord>('records')
  for (const [_id, { set }] of Object.entries(corruptions)) {
    const record = await records.findOne({ _id })
    await records.updateOne({ _id }, { $set: set(record!.secret) })
  }
}

function flipped(binary: Binary): Binary {
  const bytes = Buffer.from(binary.value())
  bytes[5]! ^= 1
  return new Binary(bytes)
}

describe('quarantine', () => {
  test('takes exactly the seven corrupted envelopes, and malformed ones cost no call', async () => {
    fixture = await openFixture()
    await fixture.fill(names(100))
    await corrupt()
    const [range] = await fixture.plan()
    const calls = fixture.provider.stats().calls
    await fixture.sweep(range!.range, { page: 20 })
    const counters = await fixture.counters()
    expect(counters).toMatchObject({ rewrapped: 93, superseded: 0, quarantined: 7 })
    expect(counters.hsmCalls).toBe(fixture.provider.stats().calls - calls)
    expect(counters.hsmCalls).toBeLessThanOrEqual(93 * 3 + 2 * 2)
    const rows = await listQuarantine(fixture.store)
    const found = rows.map(({ _id, code }) => [_id.id, code]).sort()
    expect(found).toEqual(Object.entries(corruptions).map(([id, { code }]) => [id, code]))
  })

  test('counts a row once even if the rotation reads it again, and lets the tail end', async () => {
    fixture = await openFixture()
    await fixture.fill(names(100))
    await corrupt()
    const [range] = await fixture.plan()
    await fixture.sweep(range!.range)
    const calls = fixture.provider.stats().calls
    for (const pass of [1, 2]) {
      const [tail] = await fixture.plan(1, pass)
      const result = await fixture.sweep(tail!.range, { tail: true, page: 2 })
      expect(result).toMatchObject({ end: 'end', counters: { quarantined: 0, hsmCalls: 0 } })
    }
    expect(fixture.provider.stats().calls).toBe(calls)
    expect(await fixture.counters()).toMatchObject({ rewrapped: 93, quarantined: 7 })
  })

  test('re-wraps an envelope that its owner restored after it was quarantined', async () => {
    fixture = await openFixture()
    const sealed = await fixture.fill(names(100))
    await corrupt()
    const [range] = await fixture.plan()
    await fixture.sweep(range!.range)
    await fixture.store.db
      .collection<SealedRecord>('records')
      .replaceOne({ _id: 'r000003' }, sealed[3]!)
    const [tail] = await fixture.plan(1, 1)
    const { counters } = await fixture.sweep(tail!.range, { tail: true })
    expect(counters).toMatchObject({ rewrapped: 1, quarantined: 0 })
  })

  test('quarantines what a validator refuses, and writes the rest of the page', async () => {
    fixture = await openFixture()
    await fixture.fill(names(50))
    const records = fixture.store.db.collection<{ _id: string; note?: number }>('records')
    await fixture.store.db.command({
      collMod: 'records',
      validator: { note: { $ne: 1 } },
      validationLevel: 'strict',
    })
    await fixture.store.db.command({
      update: 'records',
      updates: [
        { q: { _id: { $in: ['r000007', 'r000030'] } }, u: { $set: { note: 1 } }, multi: true },
      ],
      bypassDocumentValidation: true,
    })
    const [range] = await fixture.plan()
    const { counters } = await fixture.sweep(range!.range, { page: 20 })
    expect(counters).toMatchObject({ rewrapped: 48, quarantined: 2 })
    const rows = await listQuarantine(fixture.store)
    expect(rows.map(({ _id, code }) => [_id.id, code])).toEqual([
      ['r000007', 'write-refused'],
      ['r000030', 'write-refused'],
    ])
    expect(await records.countDocuments({ 'secret.kek_version': 1 })).toBe(2)
  })

  test('quarantines a record whose _id the driver cannot give back', async () => {
    fixture = await openFixture()
    await fixture.fill(names(5))
    const far = Long.fromString('9000000000000000000')
    await fixture.store.db
      .collection<SealedRecord>('records')
      .aggregate([
        { $match: { _id: 'r000002' } },
        { $set: { _id: { $toDate: far } } },
        { $merge: { into: 'records' } },
      ])
      .toArray()
    const [range] = await fixture.plan()
    const { counters } = await fixture.sweep(range!.range, { page: 2 })
    expect(counters).toMatchObject({ rewrapped: 5, quarantined: 1, superseded: 0 })
    expect(await listQuarantine(fixture.store)).toMatchObject([{ code: 'id-unsupported' }])
    const [tail] = await fixture.plan(1, 1)
    const again = await fixture.sweep(tail!.range, { tail: true })
    expect(again).toMatchObject({ end: 'end', counters: { quarantined: 0, superseded: 0 } })
  })

  test('in the tail, takes an unchanged envelope that no filter matches', async () => {
    fixture = await openFixture()
    await fixture.fill(names(30))
    const [range] = await fixture.plan()
    const store = blindFor(fixture.store, 'r000011')
    const first = await fixture.sweep(range!.range, { store, page: 10 })
    expect(first.counters).toMatchObject({ rewrapped: 29, superseded: 1, quarantined: 0 })
    const [tail] = await fixture.plan(1, 1)
    const second = await fixture.sweep(tail!.range, { store, tail: true })
    expect(second.counters).toMatchObject({ superseded: 1, quarantined: 1 })
    const [third] = await fixture.plan(1, 2)
    const last = await fixture.sweep(third!.range, { store, tail: true })
    expect(last.counters).toMatchObject({ superseded: 0, quarantined: 0 })
    expect(await listQuarantine(fixture.store)).toMatchObject([
      { _id: { id: 'r000011' }, code: 'id-unsupported' },
    ])
  })

  test('in the tail, takes no envelope that an application has changed', async () => {
    fixture = await openFixture()
    const sealed = await fixture.fill(names(10))
    const [range] = await fixture.plan()
    const records = fixture.store.db.collection<SealedRecord>('records')
    const [fresh] = await fixture.seal(['r000004'], 2)
    const provider = new Proxy(fixture.provider, {
      get: (target, name) =>
        name !== 'rewrap'
          ? (Reflect.get(target, name) as unknown)
          : async (...args: Parameters<typeof target.rewrap>) => {
              const answer = await target.rewrap(...args)
              await records.replaceOne({ _id: sealed[4]!._id }, fresh!)
              await records.deleteOne({ _id: sealed[5]!._id })
              return answer
            },
    })
    const { counters } = await fixture.sweep(range!.range, { tail: true, provider })
    expect(counters).toMatchObject({ rewrapped: 8, superseded: 2, quarantined: 0 })
    expect(await fixture.openAll()).toEqual({ 2: 9 })
  })
})

interface UpdateCommand {
  update?: string
  updates: { q: { _id: unknown } }[]
}

/** A database whose filters never find one record by its `_id`; walks along the index do. */
function blindFor(store: Store, id: string): Store {
  const nowhere = (command: UpdateCommand) => {
    if (command.update !== 'records') return command
    const updates = command.updates.map((one) =>
      one.q._id === id ? { ...one, q: { ...one.q, _id: 'nowhere' } } : one,
    )
    return { ...command, updates }
  }
  const blind = (records: Collection) =>
    new Proxy(records, {
      get(target, name) {
        const own = Reflect.get(target, name) as unknown
        if (name === 'findOne') return () => Promise.resolve(null)
        return typeof own === 'function' ? (own.bind(target) as unknown) : own
      },
    })
  const db = new Proxy(store.db, {
    get(target, name) {
      const own = Reflect.get(target, name) as unknown
      if (typeof own !== 'function') return own
      if (name === 'command') {
        return (command: UpdateCommand, options: RunCommandOptions) =>
          target.command(nowhere(command), options)
      }
      if (name !== 'collection') return own.bind(target) as unknown
      return (of: string) =>
        of === 'records' ? blind(target.collection(of)) : target.collection(of)
    },
  })
  return { ...store, db }
}
