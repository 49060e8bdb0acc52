import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Decimal128, Double, Long, type Document } from 'mongodb'
import { openFleet, type CliJson, type Fleet } from '../support/fleet.ts'
import { pausedRotation } from '../support/paused-rotation.ts'

const certificates = 'certificates'
const accounts = 'accounts'
const at = 'private_key'

let fleet: Fleet

beforeAll(async () => {
  fleet = await openFleet({ provider: 'env' })
  await fleet.fill(60)
})
afterAll(async () => {
  await fleet.close()
})

/** A copy of all records, to restore those that a test broke. */
async function recordsNow(collection: string): Promise<Document[]> {
  return await fleet.store.db.collection(collection).find().sort({ _id: 1 }).toArray()
}

async function replace(collection: string, { _id, ...rest }: Document): Promise<void> {
  await fleet.store.db.collection(collection).replaceOne({ _id: _id as never }, rest)
}

function failing(guards: CliJson['guards']): string[] {
  return guards.filter(({ ok }) => !ok).map(({ guard }) => guard)
}

describe('odd envelopes in a fleet', () => {
  const version = (value: unknown): Document => ({ $set: { [`${at}.kek_version`]: value } })
  /** Values that are no version, and envelopes that lack a member. */
  const oddities: Document[] = [
    ...[NaN, Infinity, -Infinity, 1.5, 0, -1, 2 ** 31, '1', [1], null].map(version),
    ...['NaN', '1.5', '1E+6000'].map((text) => version(Decimal128.fromString(text))),
    ...['text', [1], 7].map((value) => ({ $set: { [at]: value } })),
    { $unset: { [`${at}.kek_version`]: '' } },
    { $unset: { [`${at}.dek_wrapped`]: '' } },
  ]
  /** Version 1 as another number type, in the first, the last and a middle record. */
  const ones = [Decimal128.fromString('1'), Decimal128.fromString('1.0'), new Long(1)]

  test('are counted, shown and skipped, and leave quarantine when they are repaired', async () => {
    const before = await recordsNow(certificates)
    const nested = await recordsNow(accounts)
    const records = fleet.store.db.collection(certificates)
    const others = fleet.store.db.collection(accounts)
    const places = [0, before.length - 1, 9]
    for (const [index, value] of ones.entries()) {
      await records.updateOne({ _id: before[places[index]!]!['_id'] as never }, version(value))
    }
    const victims = before.filter((_, index) => !places.includes(index)).slice(0, oddities.length)
    for (const [index, { _id }] of victims.entries()) {
      await records.updateOne({ _id: _id as never }, oddities[index]!)
    }
    const [array, scalar, unknown] = nested.map(({ _id }) => ({ _id: _id as never }))
    await others.updateOne(array!, { $set: { secrets: [{ token: 'x' }] } })
    await others.updateOne(scalar!, { $set: { secrets: 'none' } })
    await others.updateOne(unknown!, { $set: { 'secrets.token.kek_version': 99 } })

    const odd = oddities.length + 1
    const under = 60 - odd - 2
    const status = await fleet.must('status')
    expect(status.envelopes).toMatchObject({ total: 59, odd, byVersion: { 1: under, 99: 1 } })
    for (const flags of [[], ['--unwrap']]) {
      const { code, json } = await fleet.cli('scan', ...flags)
      expect({ flags, code, odd: json['odd'] }).toEqual({ flags, code: 6, odd })
    }
    const opened = (await fleet.cli('scan', '--unwrap')).json['failed'] as Document[]
    expect(opened.filter(({ kekVersion }) => kekVersion === null)).toHaveLength(odd)

    const { code, json } = await fleet.cli('rotate', '--to-version', '2')
    expect({ code, ...json }).toMatchObject({
      code: 6,
      outcome: 'completed-with-quarantine',
      rewrapped: under,
      superseded: 0,
      quarantined: odd,
      remaining: 0,
    })
    const report = await fleet.must('report', json.rotationId)
    expect(report).toMatchObject({ plan: { envelopes: under + odd }, truth: { rewrapped: under } })
    expect(await typesOf(places.map((place) => before[place]!))).toEqual(['int', 'int', 'int'])
    expect(await listed()).toHaveLength(odd)

    const retried = await fleet.cli('quarantine', 'retry')
    expect(retried).toMatchObject({ code: 6, json: { before: odd, remaining: odd } })
    await fleet.must('quarantine', 'release', '--all')
    expect(await listed()).toEqual([])
    const removal = await fleet.cli('remove', '--version', '1')
    expect(removal.code).toBe(3)
    expect(failing(removal.json.guards)).toEqual(['settings-agree', 'quarantine-empty'])
    const scanned = await fleet.cli('quarantine', 'scan')
    expect(scanned).toMatchObject({ code: 6, json: { odd } })
    expect(await listed()).toHaveLength(odd)
    const accepting = await fleet.cli('remove', '--version', '1', '--accept-quarantine')
    expect(failing(accepting.json.guards)).toEqual(['settings-agree'])

    for (const one of victims) await replace(certificates, one)
    for (const one of nested.slice(0, 3)) await replace(accounts, one)
    const repaired = await fleet.cli('quarantine', 'retry')
    expect(repaired).toMatchObject({ code: 0, json: { remaining: 0 } })
    expect(await listed()).toEqual([])
    await fleet.must('scan', '--unwrap')
    await fleet.must('rotate', '--from-version', '1', '--to-version', '2')
    expect(await fleet.verifyRecords()).toEqual({ 2: 60 })
  })

  test('that appear during a rotation are also skipped', async () => {
    const { to, rotation } = await pausedRotation(fleet)
    const [, victim] = (await recordsNow(certificates)) as [Document, Document]
    const records = fleet.store.db.collection<{ _id: string | Double }>(certificates)
    const inserted = [
      {
        _id: 'odd-0',
        [at]: { ...(victim[at] as object), kek_version: Decimal128.fromString('0') },
      },
      { _id: '~odd-1', [at]: 'no envelope' },
      { _id: new Double(0.5), [at]: [{ kek_version: to }] },
    ]
    await records.insertMany(inserted)
    await records.updateOne(
      { _id: victim['_id'] as string },
      { $unset: { [`${at}.dek_wrapped`]: '' } },
    )
    await fleet.must('rate', '0')
    await fleet.must('resume')
    const { code, json } = await rotation.end()
    expect({ code, ...json }).toMatchObject({
      code: 6,
      outcome: 'completed-with-quarantine',
      quarantined: 4,
      remaining: 0,
    })
    expect(await listed()).toHaveLength(4)
    await records.deleteMany({ _id: { $in: inserted.map(({ _id }) => _id) } })
    await replace(certificates, victim)
    const repaired = await fleet.cli('quarantine', 'retry')
    expect(repaired).toMatchObject({ code: 0, json: { remaining: 0 } })
    await fleet.cli('rotate', '--from-version', `${3 - to}`, '--to-version', `${to}`)
    expect(await fleet.verifyRecords()).toEqual({ [to]: 60 })
  })
})

async function listed(): Promise<Document[]> {
  const { envelopes } = await fleet.must('quarantine', 'list')
  return envelopes as Document[]
}

async function typesOf(records: readonly Document[]): Promise<string[]> {
  const found = await fleet.store.db
    .collection(certificates)
    .aggregate<{ type: string }>([
      { $match: { _id: { $in: records.map(({ _id }) => _id as unknown) } } },
      { $project: { type: { $type: `$${at}.kek_version` } } },
    ])
    .toArray()
  return found.map(({ type }) => type)
}
