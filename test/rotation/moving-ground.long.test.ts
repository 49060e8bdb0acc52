import { Decimal128, Long } from 'mongodb'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { keyturnLayout } from '../../envelope/layout.ts'
import { wantedIndexes } from '../../store/index-faults.ts'
import { openFleet, type Fleet } from '../support/fleet.ts'
import { places } from '../support/fleet-records.ts'

const [{ collection, field }] = places

let fleet: Fleet

beforeAll(async () => {
  fleet = await openFleet({ provider: 'env', nodes: ['vm-a'] })
  await fleet.fill(1)
})
afterAll(async () => {
  await fleet.close()
})

const records = () => fleet.store.db.collection(collection)
const setVersion = async (value: unknown) =>
  await records().updateOne({}, { $set: { [`${field}.kek_version`]: value } })

describe('a single envelope', () => {
  test('is re-wrapped with a version of any number type, and counted as odd with an invalid one', async () => {
    await setVersion(Decimal128.fromString('1'))
    expect((await fleet.must('status')).envelopes).toMatchObject({ byVersion: { 1: 1 }, odd: 0 })
    const first = await fleet.must('rotate', '--to-version', '2')
    expect(first).toMatchObject({ outcome: 'completed', rewrapped: 1, remaining: 0 })
    expect(await fleet.verifyRecords()).toEqual({ 2: 1 })

    await setVersion(Long.fromString('9007199254740993'))
    expect((await fleet.must('status')).envelopes).toMatchObject({
      total: 1,
      byVersion: {},
      odd: 1,
    })
    expect(await fleet.cli('scan')).toMatchObject({ code: 6, json: { odd: 1 } })
    const second = await fleet.cli('rotate', '--to-version', '1')
    expect({ exit: second.code, ...second.json }).toMatchObject({
      exit: 6,
      outcome: 'completed-with-quarantine',
      rewrapped: 0,
      quarantined: 1,
      remaining: 0,
    })
    await setVersion(2)
    expect(await fleet.cli('quarantine', 'retry')).toMatchObject({ code: 0 })
    await fleet.must('rotate', '--from-version', '2', '--to-version', '1')
    expect(await fleet.verifyRecords()).toEqual({ 1: 1 })
  })
})

describe('an index that is dropped during a rotation', () => {
  const wanted = wantedIndexes(keyturnLayout(field))

  test('fails the rotation with its name if the sweep needs it, but not if it is the index of odd envelopes', async () => {
    // At one a second, it sweeps for two minutes.
    await fleet.fill(119)
    const without = async (index: string, to: number) => {
      const rotation = fleet.start('rotate', '--to-version', `${to}`, '--max-rate', '1')
      await fleet.rewrapped(1)
      await records().dropIndex(index)
      await fleet.must('rate', '0')
      const { code, json } = await rotation.end()
      const doctor = await fleet.cli('doctor')
      expect(doctor.code).toBe(4)
      expect(doctor.stdout).toContain(index)
      await fleet.must('setup')
      await fleet.must('doctor')
      return { exit: code, ...json }
    }
    expect(await without(wanted.odd.name, 2)).toMatchObject({ exit: 0, outcome: 'completed' })
    expect(await without(wanted.version.name, 1)).toMatchObject({
      exit: 5,
      outcome: 'failed',
      error: {
        message: `collection "${collection}" lacks the index on "${field}.kek_version"`,
        hint: 'run: keyturn setup',
      },
    })
    await fleet.must('rotate', '--from-version', '2', '--to-version', '1')
    expect(await fleet.verifyRecords()).toEqual({ 1: 120 })
  })
})
