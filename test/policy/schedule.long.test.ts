import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { setPolicy, type PolicyRequest } from '../../client/policy/set.ts'
import { loadConfig } from '../../config/load-config.ts'
import { collections, workflowIds } from '../../contracts/names.ts'
import type { PolicyView } from '../../contracts/views.ts'
import { findServer } from '../../devstack/servers/find-server.ts'
import { startTemporalServer } from '../../devstack/temporal-server.ts'
import type { TemporalServer } from '../../devstack/temporal-server.ts'
import { readPolicy } from '../../store/kek-policy.ts'
import { lastRotation, runningRotation } from '../../store/rotations.ts'
import { chainedAudit } from '../support/chained-audit.ts'
import { openFleet } from '../support/fleet.ts'
import type { Fleet } from '../support/fleet.ts'

/** A Schedule that fires by itself: it looks every two seconds, and its date comes when the test says so. */

const lookMs = 2_000
const dayMs = 86_400_000
const hourMs = 3_600_000
const fifthKey = 'KEYTURN_ENCRYPTION_ENV_KEK_V5'

let folder: string
let path: string
let temporal: TemporalServer
let fleet: Fleet

beforeAll(async () => {
  folder = await mkdtemp(join(process.cwd(), '.keyturn', 'policy-'))
  path = (await findServer('temporal', { print: console.error })).path
  temporal = await startTemporalServer({ path, folder, ui: false })
  fleet = await openFleet({
    provider: 'env',
    versions: [1],
    temporalAddress: temporal.address,
    env: { [fifthKey]: randomBytes(32).toString('hex') },
  })
  await fleet.fill(120)
})
afterAll(async () => {
  await fleet.close()
  await temporal.stop()
  await rm(folder, { recursive: true, force: true })
})

const rules: PolicyRequest = {
  everyMs: 90 * dayMs,
  atMs: 3 * hourMs,
  timeZone: 'Europe/Berlin',
  jitterMs: 0,
  window: null,
  maxWraps: null,
  maxRate: null,
  maxHsmCalls: 0,
  priority: 'rotation',
  removeAfterMs: null,
  provision: true,
  lookMs,
}

const set = async (changes: Partial<PolicyRequest>) =>
  await setPolicy(loadConfig({ file: fleet.config }), { ...rules, ...changes })
const shown = async () => (await fleet.must('policy', 'show'))['policy'] as PolicyView
const policies = () => fleet.store.db.collection<{ _id: string }>(collections.policy)

/** Makes the next date of the policy come now. */
async function due(): Promise<void> {
  await policies().updateOne({ _id: 'policy' }, [{ $set: { next_at: '$$NOW' } }])
}

/** The policy after one more run than there was. */
async function ended(before: PolicyView): Promise<PolicyView> {
  return await fleet.until(
    'no run of the policy ends',
    async () => {
      const policy = await shown()
      return policy.lastRuns.length > before.lastRuns.length ? policy : null
    },
    240_000,
  )
}

describe('a policy whose Schedule fires', () => {
  test('rotates at each of its dates, and across a restart of Temporal', async () => {
    const before = await set({})
    expect(before).toMatchObject({ paused: false, run: null, lastRun: null, lastRuns: [] })
    expect(before.nextRuns).toHaveLength(5)
    await due()
    const first = await ended(before)
    expect(first.lastRun).toMatchObject({ cause: 'date', outcome: 'completed', error: null })
    expect(await fleet.active()).toBe(2)
    // A later look begins no second run at the same date.
    expect(first.nextRunsLocal.map((run) => run.slice(10, 16))).toEqual(Array(5).fill('T03:00'))
    expect(Date.parse(first.nextRun ?? '')).toBeGreaterThan(Date.now() + 80 * dayMs)

    await temporal.process.kill()
    await due()
    const { ports } = temporal
    temporal = await startTemporalServer({ path, folder, ports, ui: false })
    const second = await ended(first)
    expect(second.lastRun).toMatchObject({ cause: 'date', outcome: 'completed' })
    expect(await fleet.active()).toBe(3)
    expect(await fleet.verifyRecords()).toEqual({ 3: 120 })
    const actions = (await chainedAudit(fleet.store)).map(({ action }) => action)
    expect(actions.filter((action) => action === 'policy-run')).toHaveLength(2)
  })

  test('begins one run while its looks go on, and first leaves an older version', async () => {
    await fleet.must('rotate', '--to-version', '2', '--max-rate', '20', '--detach')
    await fleet.rewrapped(5)
    await fleet.must('cancel')
    expect(Object.keys(await fleet.census())).toEqual(['2', '3'])
    const before = await set({ maxRate: 40 })
    await due()
    await fleet.until('no run begins', async () => (await shown()).run !== null)
    // Its rotations take several looks.
    const busy = await fleet.cli('policy', 'run')
    expect(busy.json.error.code).toBe('rotation-running')
    const after = await ended(before)
    expect(after.lastRun).toMatchObject({ cause: 'date', outcome: 'completed' })
    const { runs } = (await readPolicy(fleet.store))!
    expect(runs.at(-1)?.rotations).toMatchObject([
      { from: 3, to: 2, main: false },
      { from: 2, to: 4, main: true },
    ])
    expect(after.lastRuns).toHaveLength(before.lastRuns.length + 1)
  })

  test('begins a run early after so many wraps, once a period, with the reason on record', async () => {
    const few = await fleet.cli('policy', 'set', '--every', '90d', '--max-wraps', '479')
    expect(few).toMatchObject({ code: 2, json: { error: { code: 'usage' } } })
    const before = await set({ maxWraps: 480 })
    const versions = fleet.store.db.collection<{ _id: number }>(collections.versions)
    const wrapped = async () => {
      await versions.updateOne({ _id: await fleet.active() }, { $set: { wraps: 10_000 } })
    }
    await wrapped()
    const after = await ended(before)
    expect(after.lastRun).toMatchObject({ cause: 'wraps', outcome: 'completed' })
    const reason = 'scheduled early: 10000 wraps under v4, at most 480 are allowed'
    expect(after.lastRun?.reason).toBe(reason)
    expect((await lastRotation(fleet.store))?.reason).toBe(reason)
    expect(after.nextRuns).toEqual(before.nextRuns)
    await wrapped()
    await looks(2)
    expect(await shown()).toMatchObject({ run: null, wraps: { active: 10_000, bound: 480 } })
    expect((await shown()).lastRuns).toHaveLength(after.lastRuns.length)
  })

  test('is skipped when it meets a rotation of a person', async () => {
    const before = await set({})
    await fleet.must('rotate', '--to-version', '4', '--max-rate', '2', '--detach')
    await fleet.rewrapped(2)
    await due()
    const after = await ended(before)
    expect(after).toMatchObject({ paused: false, lastRun: { outcome: 'skipped', rotation: null } })
    await fleet.must('rate', '0')
    await fleet.must('rotate', '--to-version', '4').catch(() => undefined)
    await fleet.until('it does not end', async () => (await fleet.census())[4] === 120)
    await fleet.until('it does not end', async () => (await runningRotation(fleet.store)) === null)
  })

  test('waits for the key of an env version, names nodes and variable, then fails and is paused', async () => {
    const before = await set({})
    await due()
    const waiting = await fleet.until('the run does not wait', async () => {
      return (await shown()).run?.waitsFor ?? null
    })
    expect(waiting).toContain('"KEYTURN_ENCRYPTION_ENV_KEK_V6" is not set on vm-a, vm-b')
    await policies().updateOne({ _id: 'policy' }, [{ $set: { 'run.until': '$$NOW' } }])
    const failed = await ended(before)
    expect(failed).toMatchObject({
      paused: true,
      nextRun: null,
      nextRuns: [],
      lastRun: { outcome: 'failed', error: { code: 'material-missing' } },
    })
    expect(failed.pausedReason).toContain('material-missing: "KEYTURN_ENCRYPTION_ENV_KEK_V6"')
    expect((await fleet.must('status'))['policy']).toEqual(failed)
    const logs = (await fleet.nodes.log('vm-a')) + (await fleet.nodes.log('vm-b'))
    expect(logs).toContain('the policy is paused: the run of')
    expect(await metric('keyturn_policy_paused')).toBe(1)
    const actions = (await chainedAudit(fleet.store)).map(({ action }) => action).slice(-3)
    expect(actions).toEqual(['policy-run', 'policy-failed', 'policy-paused'])
    expect((await fleet.cli('policy', 'run')).json.error.code).toBe('policy-paused')

    const resumed = (await fleet.must('policy', 'resume'))['policy'] as PolicyView
    expect(resumed).toMatchObject({ paused: false, pausedReason: null })
    await looks(1)
    expect(await metric('keyturn_policy_paused')).toBe(0)
    const next = Date.parse(resumed.nextRun ?? '') / 1000
    expect(await metric('keyturn_policy_next_run_timestamp_seconds')).toBe(next)
  })

  test('waits for a version that a person installs, with --no-provision', async () => {
    expect((await set({ provision: false })).provision).toBe(false)
    await due()
    const waiting = await fleet.until('the run does not wait', async () => {
      return (await shown()).run?.waitsFor ?? null
    })
    expect(waiting).toContain('no unused version is installed')
    await fleet.must('policy', 'delete')
    expect((await fleet.cli('policy', 'show')).json.error.code).toBe('policy-missing')
  })
})

/** Resolves after so many more looks. */
async function looks(count: number): Promise<void> {
  const handle = fleet.temporal.schedule.getHandle(workflowIds.policy(fleet.identity))
  const taken = async () => (await handle.describe()).info.numActionsTaken
  const target = (await taken()) + count + 1
  await fleet.until('the Schedule does not look', async () => (await taken()) >= target)
}

async function metric(name: string): Promise<number> {
  const log = await fleet.nodes.log('vm-a')
  const up = log.split('\n').findLast((line) => line.includes('worker is up')) ?? '{}'
  const { listen } = JSON.parse(up) as { listen: string }
  const page = await (await fetch(`http://${listen}/metrics`)).text()
  return Number(new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, 'm').exec(page)?.[1])
}
