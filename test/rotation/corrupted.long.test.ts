import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { Binary, BSON, type Document } from 'mongodb'
import type { ReportView } from '../../contracts/report.ts'
import { onEachProvider, route } from '../support/each-provider.ts'
import type { Fleet } from '../support/fleet.ts'
import { envelopeAt, places } from '../support/fleet-records.ts'

onEachProvider('seven corrupted envelopes', { records: 600 }, (fleetOf) => {
  test('are the only ones in quarantine, and are re-wrapped once they are repaired', async () => {
    const fleet = fleetOf()
    const { from, to, total } = await route(fleet)
    const broken = await breakSeven(fleet)
    const keys = new Set(broken.map(({ key }) => key))
    expect(keys.size).toBe(7)

    const { code, json } = await fleet.cli('rotate', '--to-version', `${to}`)
    expect(code).toBe(6)
    expect(json).toMatchObject({ outcome: 'completed-with-quarantine', remaining: 0 })
    expect(json).toMatchObject({ rewrapped: total - 7, superseded: 0, quarantined: 7 })
    const report = await fleet.must('report', json.rotationId)
    expect(report).toMatchObject({ outcome: 'completed-with-quarantine' })
    const { quarantine, before, after } = report as unknown as ReportView
    expect(quarantine.reduce((sum, { envelopes }) => sum + envelopes, 0)).toBe(7)
    expect(quarantine.every(({ code, message }) => code !== '' && message !== '')).toBe(true)
    const under = (counts: ReportView['before']) => counts?.reduce((sum, one) => sum + one.from, 0)
    expect([under(before), under(after)]).toEqual([total, 7])
    expect(report).toMatchObject({ plan: { envelopes: total, hsmCalls: 3 * total, check: 'all' } })
    expect(report).toMatchObject({
      truth: { envelopes: total, rewrapped: total - 7, remaining: 0 },
    })
    const { envelopes } = await fleet.must('quarantine', 'list')
    const listed = (envelopes as { collection: string; field: string; id: unknown }[]).map(
      ({ collection, field, id }) => `${collection}/${field}/${JSON.stringify(id)}`,
    )
    expect(listed.toSorted()).toEqual([...keys].toSorted())
    expect(await fleet.verifyRecords({ except: keys })).toEqual({ [to]: total - 7 })
    expect(await fleet.census()).toEqual({ [from]: 7, [to]: total - 7 })
    // No byte of a broken envelope has changed.
    for (const { collection, id, now } of broken) {
      expect(await find(fleet, collection, id)).toEqual(now)
    }
    const status = await fleet.must('status')
    expect(status.envelopes).toMatchObject({ total, quarantined: 7 })

    const removal = await fleet.cli('remove', '--version', `${from}`)
    expect(removal.code).toBe(3)
    expect(failing(removal.json.guards)).toEqual(['quarantine-empty'])

    for (const { collection, id, before } of broken) {
      await fleet.store.db.collection(collection).replaceOne({ _id: id as never }, before)
    }
    const [freed] = envelopes as { collection: string; id: unknown }[]
    const id = JSON.stringify(freed!.id)
    const released = await fleet.must('quarantine', 'release', '--id', id)
    expect(released['released']).toMatchObject([{ collection: freed!.collection, id: freed!.id }])
    const again = await fleet.cli('quarantine', 'retry')
    expect({ code: again.code, stderr: again.stderr }).toMatchObject({ code: 0 })
    expect(again.json).toMatchObject({ before: 6, remaining: 0, rotations: [{ rewrapped: 7 }] })
    expect(await fleet.verifyRecords()).toEqual({ [to]: total })
    expect((await fleet.must('quarantine', 'list')).envelopes).toEqual([])
  })
})

function failing(guards: readonly { guard: string; ok: boolean }[]): string[] {
  return guards.filter(({ ok }) => !ok).map(({ guard }) => guard)
}

interface Broken {
  key: string
  collection: string
  id: unknown
  before: Document
  now: Document | null
}

type Wrap = ReturnType<typeof envelopeAt>

/** Breaks each in another way; the last two swap their wraps. */
async function breakSeven(fleet: Fleet): Promise<Broken[]> {
  const ways: ((wrap: Wrap, next: Wrap) => object)[] = [
    ({ dek_wrapped: wrapped }) => ({ dek_wrapped: flipped(wrapped) }),
    ({ dek_wrapped: wrapped }) => ({
      dek_wrapped: new Binary(wrapped.value().subarray(1)),
    }),
    () => ({ dek_iv: new Binary(randomBytes(12)) }),
    () => ({ format: 2 }),
    ({ provider }) => ({ provider: provider === 'env' ? 'pkcs11' : 'env' }),
    (_, { dek_iv, dek_wrapped }) => ({ dek_iv, dek_wrapped }),
    () => ({ dek_wrapped: 'not bytes' }),
  ]
  const broken: Broken[] = []
  for (const [index, way] of ways.entries()) {
    const place = places[index % 2] ?? places[0]
    const records = fleet.store.db.collection(place.collection)
    const [before, next] = await records
      .find()
      .sort({ _id: 1 })
      .skip(index * 20)
      .limit(2)
      .toArray()
    if (before === undefined || next === undefined) throw new Error('too few records')
    const changes = way(envelopeAt(before, place.field), envelopeAt(next, place.field))
    const set = Object.entries(changes).map(([name, value]): [string, unknown] => [
      `${place.field}.${name}`,
      value,
    ])
    await records.updateOne({ _id: before._id }, { $set: Object.fromEntries(set) as object })
    const { collection, field } = place
    const key = `${collection}/${field}/${BSON.EJSON.stringify(before._id)}`
    const now = await find(fleet, collection, before._id)
    broken.push({ key, collection, id: before._id, before, now })
  }
  return broken
}

function flipped(value: Binary): Binary {
  const bytes = Buffer.from(value.value())
  bytes[5] = (bytes[5] ?? 0) ^ 1
  return new Binary(bytes)
}

async function find(fleet: Fleet, collection: string, id: unknown): Promise<Document | null> {
  return await fleet.store.db.collection(collection).findOne({ _id: id as never })
}
