import { afterAll, beforeAll, expect, test } from 'vitest'
import { setPolicy, type PolicyRequest } from '../../client/policy/set.ts'
import { loadConfig } from '../../config/load-config.ts'
import { collections } from '../../contracts/names.ts'
import type { DailyWindow } from '../../contracts/policy.ts'
import type { PolicyView, RotationView } from '../../contracts/views.ts'
import { readRotation, runningRotation } from '../../store/rotations.ts'
import { serverNow } from '../../store/store.ts'
import { openFleet } from '../support/fleet.ts'
import type { Fleet } from '../support/fleet.ts'

/** A policy's window on real servers. Its begin and end are milliseconds here, so that it opens and closes during a test. */

const dayMs = 86_400_000
const hourMs = 3_600_000
let fleet: Fleet

beforeAll(async () => {
  fleet = await openFleet({ provider: 'env', versions: [1, 2, 3] })
  await fleet.fill(300)
})
afterAll(() => fleet.close())

/** A window from and to so many milliseconds from now. */
async function around(fromMs: number, toMs: number): Promise<DailyWindow> {
  const ofDay = (await serverNow(fleet.store)).getTime() % dayMs
  const within = (ms: number) => (ofDay + ms + dayMs) % dayMs
  return { fromMs: within(fromMs), toMs: within(toMs) }
}

const rules: PolicyRequest = {
  everyMs: 4 * hourMs,
  atMs: null,
  timeZone: 'UTC',
  jitterMs: 0,
  window: null,
  maxWraps: null,
  maxRate: 4,
  maxHsmCalls: 0,
  priority: 'applications',
  removeAfterMs: null,
  provision: false,
  lookMs: 2_000,
}
const set = async (changes: Partial<PolicyRequest>) =>
  await setPolicy(loadConfig({ file: fleet.config }), { ...rules, ...changes })
const due = async () => {
  const policies = fleet.store.db.collection<{ _id: string }>(collections.policy)
  await policies.updateOne({ _id: 'policy' }, [{ $set: { next_at: '$$NOW' } }])
}
const rotation = async () => (await fleet.must('status')).rotation as RotationView | null

test('begins no run outside it, closes and opens under a rotation, and --now goes on', async () => {
  await set({ window: await around(2 * hourMs, 3 * hourMs) })
  await due()
  const closed = await fleet.cli('policy', 'run')
  expect(closed).toMatchObject({ code: 3, json: { error: { code: 'window-closed' } } })
  await fleet.must('policy', 'run', '--now')
  const outside = await fleet.until('no rotation begins', () => runningRotation(fleet.store))
  expect(outside).toMatchObject({
    window: null,
    way: { priority: 'applications' },
    reason: expect.stringContaining('keyturn policy run by') as string,
  })
  await fleet.must('rate', '0')
  await fleet.until('it does not end', async () => (await runningRotation(fleet.store)) === null)
  await fleet.until('its run does not end', async () => {
    return ((await fleet.must('policy', 'show'))['policy'] as PolicyView).run === null
  })

  // Open now, closed for a while soon, then open again.
  const window = await around(40_000, 20_000)
  await set({ window })
  await due()
  await fleet.until('no rotation begins', () => runningRotation(fleet.store))
  const paused = await fleet.until('it does not pause', async () => {
    const now = await rotation()
    return now?.pauses.includes('window') === true ? now : null
  })
  expect(paused).toMatchObject({ paused: true, pausedBy: 'window', phase: 'rewrap' })
  expect(paused.awaiting.join()).toContain('its window, which opens ')
  await fleet.until('the window does not open', async () => (await rotation())?.paused === false)
  const { to_ms } = (await readRotation(fleet.store, paused.id))?.window ?? {}
  expect(to_ms).toBe(window.toMs)
  await fleet.must('rate', '0')
  await fleet.until('it does not end', async () => (await runningRotation(fleet.store)) === null)
  expect(await fleet.active()).toBe(3)
  expect(await fleet.verifyRecords()).toEqual({ 3: 300 })
})
