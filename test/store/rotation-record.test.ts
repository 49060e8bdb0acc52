import { BSON } from 'mongodb'
import { beforeEach, describe, expect, test } from 'vitest'
import { noCounters } from '../../contracts/rotation.ts'
import type { HeartbeatDoc } from '../../store/documents.ts'
import { keystore } from '../../store/keystore.ts'
import {
  quarantineReasons,
  recordOf,
  recordedFields,
  recordedFleet,
} from '../../store/rotation-record.ts'
import { recordFleetLeft, recordSample, setPhase } from '../../store/rotation-progress.ts'
import { endRotation, readRotation } from '../../store/rotations.ts'
import { writeRows } from '../../store/quarantine-rows.ts'
import { inTransaction } from '../../store/transaction.ts'
import { certificates, field, startRotation, testStore } from './support.ts'

const store = await testStore()
const versions = { from: 1, to: 2 }
const workflowId = 'w'
let rotation: string

beforeEach(async () => {
  rotation = await startRotation(store)
})

async function record() {
  const row = await readRotation(store, rotation)
  return recordOf(row!)
}

const sample = (rewrapped: number) => ({ ...noCounters, rewrapped, hsmCalls: 3 * rewrapped })

function heartbeat(index: number): HeartbeatDoc {
  const at = new Date(2026, 0, 1)
  const node = `vm-${index.toString().padStart(4, '0')}.example.internal`
  return {
    _id: `${node}/${index}`,
    node,
    pid: 10_000 + index,
    role: 'worker',
    started_at: at,
    at,
    expires_at: at,
    lease_until: at,
    current: 1,
    epoch: 3,
    loaded: [1, 2, 7].map((version) => ({ version, proven_at: at })),
    software: 'keyturn 1.2.3, node 22.1.0',
  }
}

describe('samples of a rotation', () => {
  test('are kept in order, and thinned out before there are more than five hundred', async () => {
    const at = new Date(2026, 0, 1)
    const full = Array.from({ length: 500 }, (_, index) => {
      return { at, envelopes: index + 1, hsm_calls: 0 }
    })
    await keystore
      .rotations(store)
      .updateOne({ _id: rotation }, { $set: { 'record.samples': full } })
    for (const count of [501, 502]) {
      await recordSample(store, { rotation, workflowId }, sample(count))
    }
    const { samples = [] } = await record()
    const counts = samples.map(({ envelopes }) => envelopes)
    expect(counts).toEqual([
      ...full.filter((_, index) => index % 2 === 1).map((one) => one.envelopes),
      501,
      502,
    ])
    expect(samples.at(-1)).toMatchObject({ hsm_calls: 1_506 })
    expect(samples.at(-1)!.at.getTime()).toBeGreaterThan(at.getTime())
  })

  test('come only from its own workflow, while it runs', async () => {
    await recordSample(store, { rotation, workflowId: 'forged' }, sample(1))
    expect(await record()).toEqual({})
    await endRotation(store, rotation, 'cancelled')
    await recordSample(store, { rotation, workflowId }, sample(1))
    expect(await record()).toEqual({})
  })
})

describe('the census of a record', () => {
  const collections = [
    { name: 'a', envelopes: ['x', 'y'] },
    { name: 'b', envelopes: ['x'] },
  ]

  test('has each field with its envelopes under both versions, under others, and odd ones', () => {
    const byField = [
      { collection: 'a', field: 'x', version: 1, envelopes: 5 },
      { collection: 'a', field: 'x', version: 2, envelopes: 4 },
      { collection: 'b', field: 'x', version: 7, envelopes: 2 },
      { collection: 'b', field: 'x', version: 9, envelopes: 1 },
    ]
    const oddByField = [{ collection: 'a', field: 'y', envelopes: 3 }]
    expect(recordedFields({ byField, oddByField }, collections, versions)).toEqual([
      { collection: 'a', field: 'x', from: 5, to: 4, other: 0, odd: 0 },
      { collection: 'a', field: 'y', from: 0, to: 0, other: 0, odd: 3 },
      { collection: 'b', field: 'x', from: 0, to: 0, other: 3, odd: 0 },
    ])
  })

  test('sums the fields beyond the first thousand', () => {
    const many = Array.from({ length: 1_500 }, (_, n) => ({ name: `c${n}`, envelopes: ['x'] }))
    const byField = many.map(({ name }) => {
      return { collection: name, field: 'x', version: 1, envelopes: 2 }
    })
    const fields = recordedFields({ byField, oddByField: [] }, many, versions)
    expect(fields).toHaveLength(1_001)
    const rest = { from: 1_000, to: 0, other: 0, odd: 0 }
    expect(fields.at(-1)).toEqual({ collection: null, field: null, ...rest })
  })
})

describe('a record', () => {
  test('of a thousand processes and a hundred collections is a fraction of what a document may be', async () => {
    const beats = Array.from({ length: 1_000 }, (_, index) => heartbeat(index))
    const fleet = recordedFleet(beats, versions, new Date())
    expect(fleet.processes[0]).toMatchObject({ live: false, loaded: [1, 2], epoch: 3 })
    const many = Array.from({ length: 100 }, (_, n) => ({
      name: `collection-${n}`,
      envelopes: ['secrets.value'],
    }))
    const fields = recordedFields({ byField: [], oddByField: [] }, many, versions)
    const sampled = { at: new Date(), envelopes: 1_000_000, hsm_calls: 3_000_000 }
    const samples = Array.from({ length: 500 }, () => sampled)
    const whole = {
      before: fields,
      after: fields,
      fleet_at_promote: fleet,
      fleet_at_settle: fleet,
      samples,
    }
    expect(BSON.calculateObjectSize(whole)).toBeLessThan(500_000)
    await keystore.rotations(store).updateOne({ _id: rotation }, { $set: { record: whole } })
    expect(await record()).toEqual(whole)
  })

  test('has no more than two thousand processes, and says how many more there were', () => {
    const beats = Array.from({ length: 2_500 }, (_, index) => heartbeat(index))
    const { processes, more } = recordedFleet(beats, versions, new Date())
    expect([processes.length, more]).toEqual([2_000, 500])
  })

  test('with `$` in a name is stored as it is, and has the fleet when settle ended', async () => {
    const before = recordedFields(
      { byField: [], oddByField: [] },
      [{ name: '$a', envelopes: ['x'] }],
      versions,
    )
    await setPhase(store, rotation, 'preflight', { 'record.before': before })
    await recordFleetLeft(store, { _id: rotation, ...versions }, { epoch: 2, silent: [] })
    expect(await record()).toMatchObject({
      before: [{ collection: '$a' }],
      fleet_at_settle: { processes: [], more: 0 },
    })
  })

  test('that was edited is refused by its member, and stops nothing else', async () => {
    await keystore
      .rotations(store)
      .updateOne({ _id: rotation }, { $set: { 'record.samples': [{ at: 'soon' }] } })
    await expect(record()).rejects.toMatchObject({ code: 'document-malformed' })
    await expect(record()).rejects.toThrow('"record.samples.0.at"')
    expect(await endRotation(store, rotation, 'failed')).toBe(true)
  })
})

test('the reasons of quarantine are counted, the most frequent first', async () => {
  const row = (id: number, code: string) => {
    return { id, digest: Buffer.alloc(32, id), code, message: `${code} of ${id}` }
  }
  const place = { collection: certificates, field, rotation, version: 1 }
  const odd = { ...place, version: null }
  await inTransaction(store, async (session) => {
    await writeRows(store, session, place, [row(1, 'tampered'), row(2, 'tampered'), row(3, '$x')])
    await writeRows(store, session, odd, [{ ...row(4, 'odd-many'), count: 40 }])
    await writeRows(store, session, { ...place, version: 3 }, [row(5, 'of another version')])
  })
  expect(await quarantineReasons(store, 1)).toEqual([
    { collection: certificates, field, code: 'odd-many', message: 'odd-many of 4', envelopes: 40 },
    { collection: certificates, field, code: 'tampered', message: 'tampered of 1', envelopes: 2 },
    { collection: certificates, field, code: '$x', message: '$x of 3', envelopes: 1 },
  ])
})
