import { afterAll, beforeAll, expect, test } from 'vitest'
import { collections } from '../../contracts/names.ts'
import { openFleet } from '../support/fleet.ts'
import type { Fleet } from '../support/fleet.ts'

/**
 * An application alone, a worker that only re-wraps, a control node without keys: each does its part, verify asks only for
 * that part, and an error names a missing role.
 */
let fleet: Fleet
beforeAll(async () => {
  fleet = await openFleet({ provider: 'env', nodes: [], versions: [] })
})
afterAll(async () => {
  await fleet.close()
})

test('hosts with different roles rotate a key together', async () => {
  await fleet.nodes.start('vm-a', { roles: 'rewrap' })
  const noKeys = Object.fromEntries(Object.keys(fleet.env).map((name) => [name, undefined]))
  await fleet.nodes.start('ctl', { roles: 'control', env: noKeys })
  for (const version of [1, 2]) await fleet.installVersion(version)
  await fleet.withKeyring(async (keyring) => {
    await fleet.records.fill(keyring, 30)
    const verified = await fleet.cli('verify', '--target', '2')
    expect(verified.code, verified.stderr).toBe(0)
    const asked = verified.json.nodes.map(({ node, role }) => `${node.slice(0, 4)} ${String(role)}`)
    expect(asked.sort()).toEqual(['app- app', 'vm-a worker'].sort())
    const rotated = await fleet.cli('rotate', '--to-version', '2')
    expect(rotated.code, rotated.stderr).toBe(0)
    expect(await fleet.records.verify(keyring)).toEqual({ 2: 30 })
  })
})

test('an edited heartbeat document proves nothing', async () => {
  const beats = fleet.store.db.collection<{ _id: string; [name: string]: unknown }>(
    collections.heartbeats,
  )
  const row = await beats.findOne({ node: 'vm-a' })
  const far = new Date('2099-01-01')
  const claim = { at: far, lease_until: far, expires_at: far, node: 'app-9', role: 'app' }
  const loaded = [{ version: 1, proven_at: new Date('2098-12-31') }]
  await beats.insertOne({ ...row, ...claim, loaded, _id: 'app-9/forged' })
  const end = await fleet.cli('verify', '--target', '1')
  expect(end.code).toBe(3)
  expect(end.json.nodes.filter(({ ready }) => !ready)).toMatchObject([
    { node: 'app-9', reason: 'stale' },
  ])
  await beats.deleteOne({ _id: 'app-9/forged' })
  expect((await fleet.cli('verify', '--target', '1')).code).toBe(0)
})

test('commands that need keys are refused at once when no host has keys', async () => {
  await fleet.nodes.stop('vm-a')
  const lacking = await fleet.cli('verify', '--target', '1')
  expect(lacking).toMatchObject({ code: 4, json: { ready: false, error: { code: 'no-worker' } } })
  expect(lacking.json.nodes).toMatchObject([{ node: 'vm-a', reason: 'missing' }])
  await fleet.must('nodes', 'decommission', 'vm-a')
  expect(await fleet.nodes.stop('ctl')).toBe(0)
})
