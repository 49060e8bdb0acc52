import { beforeAll, beforeEach, expect, test } from 'vitest'
import { waitUntil } from '../../../devstack/wait-until.ts'
import { collections } from '../../../contracts/names.ts'
import type { DatedOverview } from '../../../contracts/overview.ts'
import type { FleetSettings } from '../../../contracts/settings.ts'
import { silentLog } from '../../../observability/log.ts'
import { claimOverview, readOverview, writeOverview } from '../../../store/kek-overview.ts'
import { keystore } from '../../../store/keystore.ts'
import { serverNow } from '../../../store/store.ts'
import { SharedOverview } from '../../../workers/overview/shared-overview.ts'
import { takeOverview } from '../../../workers/overview/take-overview.ts'
import { insertFirstActive } from '../../../store/kek-active.ts'
import { writeSettings } from '../../../store/kek-settings.ts'
import { configured, fill, installVersion, testStore } from '../../store/support.ts'

const store = await testStore()
const settings: FleetSettings = {
  collections: configured,
  fleet: { heartbeatMs: 1_000, leaseMs: 3_000, expireMs: 60_000 },
  removal: { backupWindowMs: 0, undoWindowMs: 0 },
}

beforeAll(async () => {
  await writeSettings(store, { settings, by: 'alice' })
  await installVersion(store, 1)
  await insertFirstActive(store, 1)
  await installVersion(store, 2)
  await fill(store, [1, 2, 3])
})

/** What the worker shows, once it is so; a reader does not wait for a slow MongoDB. */
function shown(
  worker: SharedOverview,
  is: (overview: DatedOverview) => boolean = () => true,
): Promise<DatedOverview> {
  const look = async () => {
    const overview = await worker.read()
    return overview !== null && is(overview) && overview
  }
  return waitUntil('the worker shows no such overview', look, { withinMs: 30_000 })
}

/** Shapes that no worker writes. */
const odd: [string, object][] = [
  ['a time that is no date', { as_of: 'now' }],
  ['an overview that is a text', { overview: 'x' }],
  ['versions that are no list', { 'overview.versions': 1 }],
  ['a version without members', { 'overview.versions': [{}] }],
  ['a fleet without counts', { 'overview.fleet': { live: 1 } }],
  ['a name of megabytes', { 'overview.processes': [{ node: 'x'.repeat(3_000_000) }] }],
  ['a rotation without a phase', { 'overview.rotation': { id: 'r' } }],
]

beforeEach(async () => {
  await keystore.overview(store).deleteMany({})
})

test('of many workers at once, one takes the overview, and all show it', async () => {
  const workers = Array.from({ length: 20 }, () => new SharedOverview(store, silentLog))
  const [first, ...others] = await Promise.all(workers.map((worker) => shown(worker)))
  expect(first).toMatchObject({
    active: { version: 1 },
    versions: [
      { version: 2, state: 'pre-active' },
      { version: 1, state: 'active' },
    ],
    census: [{ collection: 'certificates', version: 1, envelopes: 3 }],
    quarantined: 0,
    rotation: null,
  })
  for (const other of others) expect(other).toEqual(first)
})

test('it is not taken again within a minute, and again after it', async () => {
  const worker = new SharedOverview(store, silentLog)
  const first = await shown(worker)
  expect(await shown(worker)).toEqual(first)
  const past = [{ $set: { next_at: '$$NOW' } }]
  await keystore.overview(store).updateOne({ _id: 'overview' }, past)
  await shown(worker, ({ asOf }) => asOf !== first.asOf)
})

test('a worker that lost its claim writes nothing', async () => {
  expect(await claimOverview(store, 'a')).toBe(true)
  expect(await claimOverview(store, 'b')).toBe(false)
  await keystore.overview(store).updateOne({ _id: 'overview' }, [{ $set: { next_at: '$$NOW' } }])
  expect(await claimOverview(store, 'b')).toBe(true)
  const overview = await takeOverview(store, settings)
  const late = { asOf: new Date(0), pauseMs: 60_000, overview }
  await writeOverview(store, 'a', late)
  expect(await readOverview(store)).toBeNull()
  await writeOverview(store, 'b', { ...late, asOf: await serverNow(store) })
  expect(await readOverview(store)).not.toBeNull()
})

test.each(odd)('one with %s is not shown, and is taken anew', async (_, change) => {
  const worker = new SharedOverview(store, silentLog)
  await shown(worker)
  const rows = store.db.collection(collections.overview)
  await rows.updateOne({}, { $set: { ...change, next_at: 'never' } })
  expect(await readOverview(store)).toBeNull()
  expect(await shown(worker)).toMatchObject({ active: { version: 1 } })
})
