import { MockActivityEnvironment } from '@temporalio/testing'
import { beforeAll, beforeEach, expect, test } from 'vitest'
import type { ActivityDeps } from '../../activities/deps.ts'
import { removalActivities } from '../../activities/removal.ts'
import type { RemovalStep } from '../../contracts/removal.ts'
import { noApprovals, type FleetSettings } from '../../contracts/settings.ts'
import { silentLog } from '../../observability/log.ts'
import { hasFence, lowerFence } from '../../store/fence.ts'
import { insertFirstActive } from '../../store/kek-active.ts'
import { chainedAudit } from '../support/chained-audit.ts'
import { writeSettings } from '../../store/kek-settings.ts'
import { recordUses } from '../../store/kek-uses.ts'
import { readVersion } from '../../store/kek-versions.ts'
import { withdrawRemoval } from '../../store/removal-requests.ts'
import { insertRanges, readRange } from '../../store/rewrap-ranges.ts'
import { endRotation } from '../../store/rotations.ts'
import type { Store } from '../../store/store.ts'
import {
  askRemoval,
  certificates,
  configured,
  field,
  installVersion,
  record as envelopeRecord,
  startRotation,
  testStore,
} from '../store/support.ts'
import { quietLogger } from '../support/quiet-runtime.ts'

const store = await testStore()
const bypass = { bypassDocumentValidation: true }
const fence = { collection: certificates, fields: [field], version: 1 }

/** The store, but runs `then` immediately after each `collMod` that raises a fence. */
function afterFence(then: () => Promise<unknown>): Store {
  const db = new Proxy(store.db, {
    get(target, name) {
      if (name !== 'command') return Reflect.get(target, name, target) as unknown
      return async (command: Record<string, unknown>, options: object) => {
        const answer = await target.command(command, options)
        if ('collMod' in command && JSON.stringify(command).includes('$ne')) await then()
        return answer
      }
    },
  })
  return { ...store, db }
}

const input = (request: string, version = 1) => ({
  install: { name: 'test', id: '0f' },
  task: '',
  version,
  request,
})

/** Runs a step as a worker does; the worker's clock may differ. */
async function take(
  name: 'requestRemoval' | 'fenceRemoval' | 'destroyVersion' | 'undoRemoval',
  request: string,
  { on = store, version = 1, ownNow = () => new Date(), ...forged }: Taken = {},
): Promise<RemovalStep> {
  const deps = { store: on, node: 'vm-a', log: silentLog } as unknown as ActivityDeps
  const steps = removalActivities(deps, ownNow)
  const said = { ...input(request, version), ...forged }
  return await new MockActivityEnvironment({}, { logger: quietLogger }).run(
    async () => await steps[name](said),
  )
}
interface Taken {
  on?: Store
  version?: number
  ownNow?: () => Date
  [claim: string]: unknown
}

const fleet = { heartbeatMs: 1_000, leaseMs: 3_000, expireMs: 6_000 }
const hour = 3_600_000
async function record(rules: object = {}, remove = 0): Promise<void> {
  const removal = { backupWindowMs: 0, undoWindowMs: hour }
  const settings: FleetSettings = {
    collections: configured,
    fleet,
    removal: { ...removal, ...rules },
    ...(remove === 0 ? {} : { approvals: { ...noApprovals, remove } }),
  }
  await writeSettings(store, { settings, by: 'alice' })
}

const versions = store.db.collection<{ _id: number }>('kek_versions')
const row = async () => await readVersion(store, 1)
/** Moves the times of the removal's row back, as if this time had passed. */
async function pass(ms: number): Promise<void> {
  const due = { $subtract: ['$removal.due_at', ms] }
  await versions.updateOne({ _id: 1 }, [{ $set: { 'removal.due_at': due } }])
}

beforeAll(async () => {
  for (const version of [1, 2, 3]) await installVersion(store, version)
  await insertFirstActive(store, 2)
})
beforeEach(async () => {
  await record()
  await store.db.collection('kek_removals').deleteMany({})
  for (const name of ['kek_audit', 'kek_audit_outbox', 'kek_uses'])
    await store.db.collection(name).deleteMany({})
  await store.db.collection(certificates).deleteMany({})
  await lowerFence(store, fence)
  const left = { activated_at: new Date(0), left_at: new Date(0), left_epoch: 1 }
  await versions.updateOne(
    { _id: 1 },
    { $set: { ...left, removal: null, destroyed_at: null, rotation: null } },
  )
})

/** Runs the removal up to its undo window: requested, pending, fenced. */
async function pending(): Promise<string> {
  const request = await askRemoval(store, 1)
  expect(await take('requestRemoval', request)).toMatchObject({ phase: 'fencing', error: null })
  expect(await take('fenceRemoval', request)).toMatchObject({ phase: 'pending' })
  return request
}

test('an undo between the fence and its record leaves no fence behind', async () => {
  const undone = await askRemoval(store, 1)
  await take('requestRemoval', undone)
  const between = afterFence(() =>
    withdrawRemoval(store, undone, 'withdrawn', { reason: 'tested' }),
  )
  expect(await take('fenceRemoval', undone, { on: between })).toMatchObject({ phase: 'over' })
  expect(await row()).toMatchObject({ removal: null })
  expect(await hasFence(store, fence)).toBe(false)

  // A late attempt of the same request finds it withdrawn.
  for (const name of ['requestRemoval', 'fenceRemoval', 'destroyVersion'] as const) {
    expect(await take(name, undone)).toMatchObject({ phase: 'over', state: 'deactivated' })
  }
  expect(await hasFence(store, fence)).toBe(false)
  await pending()
  expect(await hasFence(store, fence)).toBe(true)
})

const claims = {
  guardRun: 1,
  undoWindowMs: 0,
  afterMs: 0,
  requestedBy: 'root',
  reason: 'forged',
  destroyHsmKey: true,
  acceptQuarantine: true,
  withoutFence: true,
  fenced: true,
}

test('a step without a request in this keystore is foreign and changes nothing', async () => {
  const before = await row()
  const names = ['requestRemoval', 'fenceRemoval', 'destroyVersion', 'undoRemoval'] as const
  for (const name of names) {
    await expect(take(name, 'made-up', claims)).rejects.toMatchObject({ code: 'foreign-task' })
  }
  // A request for one version does not change another.
  const other = await askRemoval(store, 3)
  for (const name of names) {
    await expect(take(name, other, claims)).rejects.toMatchObject({ code: 'removal-refused' })
  }
  expect(await row()).toEqual(before)
  expect(await chainedAudit(store)).toEqual([])
})

test('a forged step changes nothing before it is due', async () => {
  const request = await askRemoval(store, 1)
  expect(await take('destroyVersion', request, claims)).toMatchObject({ phase: 'asked' })
  expect(await take('fenceRemoval', request, claims)).toMatchObject({ phase: 'asked' })
  await take('requestRemoval', request, claims)
  // The window comes from the settings, and the fence is not waived.
  const { removal } = (await row()) ?? {}
  expect(removal).toMatchObject({ without_fence: false, requested_by: 'alice' })
  expect(Number(removal?.due_at) - Number(removal?.requested_at)).toBe(hour)
  expect(await take('destroyVersion', request, claims)).toMatchObject({ phase: 'fencing' })
  await take('fenceRemoval', request)
  const early = await take('destroyVersion', request, claims)
  expect(early).toMatchObject({ phase: 'pending', state: 'pending-removal' })
  expect(early.waitMs).toBeGreaterThan(hour - 60_000)
  const entries = await chainedAudit(store)
  expect(entries).toMatchObject([
    { actor: 'alice', action: 'removal-requested', details: { claimed: true, worker: 'vm-a' } },
  ])
})

test('two heartbeats and a lease pass between request and final check, even with a shorter window', async () => {
  await record({ undoWindowMs: 0 })
  await pending()
  const { removal } = (await row()) ?? {}
  expect(Number(removal?.due_at) - Number(removal?.requested_at)).toBe(5_000)
})

const late = () => store.db.collection(certificates)
test.each<[string, string, () => Promise<unknown>]>([
  [
    'census-zero',
    'removal-refused',
    () => late().insertOne(envelopeRecord('late', 1) as never, bypass),
  ],
  [
    'not-used',
    'removal-refused',
    () =>
      recordUses(store, { node: 'app-1', boot: 'b', pid: 1, role: 'app' }, 1, [
        { collection: certificates, field, count: 1 },
      ]),
  ],
  ['fence', 'no-fence', () => lowerFence(store, fence)],
  ['backup-window', 'removal-refused', () => record({ backupWindowMs: 100 * 365 * 24 * hour })],
  ['approvals', 'approval-missing', () => record({}, 1)],
  [
    'no-rotation',
    'removal-refused',
    () => versions.updateOne({ _id: 1 }, { $set: { rotation: 'r' } }),
  ],
])(
  'the destroying step checks %s itself, and withdraws the removal',
  async (guard, code, change) => {
    const request = await pending()
    await pass(2 * hour)
    await change()
    const step = await take('destroyVersion', request, claims)
    expect(step).toMatchObject({ phase: 'over', state: 'deactivated', error: { code } })
    expect(step.guards.filter(({ ok }) => !ok)).toMatchObject([{ guard }])
    expect(await row()).toMatchObject({ removal: null, destroyed_at: null })
    expect(await hasFence(store, fence)).toBe(false)
    const entries = await chainedAudit(store)
    expect(entries.at(-1)).toMatchObject({
      action: 'removal-undone',
      details: { reason: `guard ${guard}` },
    })
  },
)

test('a worker whose clock differs from the database’s destroys nothing', async () => {
  for (const apart of [-2 * hour, 2 * hour]) {
    const request = await pending()
    await pass(apart < 0 ? 2 * hour : 0)
    const ownNow = () => new Date(Date.now() + apart)
    expect(await take('destroyVersion', request, { ownNow })).toMatchObject({
      phase: 'over',
      state: 'deactivated',
      error: { code: 'clock-differs' },
    })
  }
  // A small difference is no reason to refuse, only to wait for both clocks.
  const request = await pending()
  await pass(hour + 1_000)
  const ownNow = () => new Date(Date.now() - 60_000)
  expect(await take('destroyVersion', request, { ownNow })).toMatchObject({ phase: 'pending' })
  expect(await take('destroyVersion', request)).toMatchObject({ phase: 'over', state: 'destroyed' })
})

test('a version that was never active is destroyed immediately, without a fence', async () => {
  await versions.updateOne(
    { _id: 1 },
    { $set: { activated_at: null, left_at: null, left_epoch: null } },
  )
  const request = await askRemoval(store, 1)
  expect(await take('requestRemoval', request)).toMatchObject({ phase: 'pending', waitMs: 0 })
  expect(await take('destroyVersion', request)).toMatchObject({ phase: 'over', state: 'destroyed' })
  expect(await hasFence(store, fence)).toBe(false)
  // A repeated step finds its work done, and records it once.
  await take('destroyVersion', request)
  const actions = (await chainedAudit(store)).map(({ action }) => action)
  expect(actions).toEqual(['removal-requested', 'version-discarded'])
})

test('the final check closes no ranges of a rotation between other versions', async () => {
  const range = { range: '0', collection: certificates, field, min: null, max: null }
  const running = await startRotation(store, 2, 3)
  const naming = await startRotation(store, 1, 2)
  const ended = await startRotation(store, 2, 3)
  for (const rotation of [running, naming, ended]) await insertRanges(store, rotation, [range])
  await endRotation(store, ended, 'cancelled')
  const request = await pending()
  await pass(2 * hour)
  await take('destroyVersion', request)
  const closed = async (rotation: string) =>
    (await readRange(store, { rotation, range: '0' }))?.closed
  expect([await closed(running), await closed(naming), await closed(ended)]).toEqual([
    false,
    true,
    true,
  ])
})
