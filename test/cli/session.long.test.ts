import type { RotationView } from '../../contracts/views.ts'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { openFleet, type Fleet } from '../support/fleet.ts'
import { processes } from '../support/processes.ts'

const envelopes = 1200

/** One fleet, steered only from the command line; each test depends on those before it. */
describe('the commands on a live fleet', () => {
  const running = processes()
  let fleet: Fleet

  beforeAll(async () => {
    fleet = await openFleet({ provider: 'env', versions: [1] })
    await fleet.fill(envelopes)
  })
  afterAll(async () => {
    await fleet.close()
  })

  test('a repeated init ends with 0 and creates nothing', async () => {
    expect(await fleet.must('env-init', '--version', '1')).toMatchObject({ created: false })
    expect(await fleet.must('env-init', '--version', '2')).toMatchObject({ created: true })
  })

  test('an init ends with 3 and names the nodes that lack the variable', async () => {
    const { code, json } = await fleet.cli('env-init', '--version', '9')
    expect(code).toBe(3)
    expect(json.error).toMatchObject({ code: 'material-missing' })
    expect(json.error.message).toContain('vm-a, vm-b')
  })

  test('every command ends with 3 for an unknown version', async () => {
    for (const args of [
      ['verify', '--target', '8'],
      ['rotate', '--to-version', '8'],
      ['remove', '--version', '8'],
    ]) {
      const { code, json } = await fleet.cli(...args)
      expect({ args, code, error: json.error.code }).toEqual({
        args,
        code: 3,
        error: 'version-unknown',
      })
    }
    const equal = await fleet.cli('rotate', '--from-version', '1', '--to-version', '1')
    expect(equal).toMatchObject({ code: 2, json: { error: { code: 'versions-equal' } } })
  })

  test('commands end with 3 on a database of another provider or install', async () => {
    const pkcs11 = { module_path: '/usr/lib/none.so', token_label: 'payments' }
    const base = parse(await readFile(fleet.config, 'utf8')) as object
    for (const changes of [{ kek: { provider: 'pkcs11', pkcs11 } }, { install: 'elsewhere' }]) {
      const file = join(fleet.folder, 'other.yaml')
      await writeFile(file, stringify({ ...base, ...changes }))
      const { code, json } = await fleet.cli('status', '--config', file)
      expect(code).toBe(3)
      expect(json.error.code).toBe('install-locked')
    }
  })

  test('a command that cannot ask for confirmation ends with 2 and changes nothing', async () => {
    for (const args of [
      ['remove', '--version', '1'],
      ['nodes', 'decommission', 'vm-a'],
    ]) {
      const asked = running.cli(['--config', fleet.config, ...args], { env: fleet.env })
      const { code, stderr } = await asked.exit()
      expect(code).toBe(2)
      expect(stderr).toMatch(/^error: there is no terminal to ask on: .*\?\nhint: .*--yes\n$/)
    }
    expect(await fleet.active()).toBe(1)
  })

  test('steering commands end with 3 without a rotation', async () => {
    for (const args of [['pause'], ['resume'], ['cancel'], ['rate', '100']]) {
      const { code, json } = await fleet.cli(...args)
      expect({ args, code, error: json.error.code }).toEqual({
        args,
        code: 3,
        error: 'no-rotation',
      })
    }
    const { code, json } = await fleet.cli('nodes', 'decommission', 'vm-z')
    expect({ code, error: json.error.code }).toEqual({ code: 3, error: 'node-unknown' })
  })

  test('a dry run shows the cost and changes nothing', async () => {
    const plan = await fleet.must('rotate', '--to-version', '2', '--dry-run')
    expect(plan).toMatchObject({ envelopes, hsmCalls: 3 * envelopes, hsmQuota: null })
    // This host has the keys in its environment, so the dry run timed some envelopes.
    expect(plan).toMatchObject({ basis: 'sample', sample: { envelopes: Math.min(envelopes, 250) } })
    expect(await fleet.active()).toBe(1)
  })

  test('a rotation is attached to, steered, refused for other versions, and cancelled', async () => {
    const first = fleet.start('rotate', '--to-version', '2', '--max-rate', '1')
    await fleet.rewrapped(1)
    const attached = await fleet.cli('rotate', '--to-version', '2', '--detach', '--max-rate', '9')
    expect(attached.code).toBe(0)
    expect(attached.json).toMatchObject({ from: 1, to: 2, outcome: 'started', rewrapped: 0 })
    expect(attached.stderr).toContain('warning: --max-rate is ignored')
    const other = await fleet.cli('rotate', '--from-version', '2', '--to-version', '1')
    expect(other).toMatchObject({ code: 3, json: { error: { code: 'rotation-running' } } })

    expect(await fleet.must('pause')).toMatchObject({ paused: true })
    // A page in flight may be written between the two figures.
    const status = await fleet.until('status does not say that it stands still', async () => {
      const seen = await fleet.must('status')
      const view = seen.rotation as RotationView | null
      const isStill = view?.paused === true && view.rewrapped + view.remaining === envelopes
      return isStill && seen
    })
    expect(status).toMatchObject({
      provider: 'env',
      active: { version: 2 },
      envelopes: { total: envelopes, quarantined: 0 },
      rotation: { id: attached.json.rotationId, from: 1, to: 2, phase: 'rewrap', paused: true },
    })

    const cancelled = await fleet.cli('cancel')
    expect(cancelled).toMatchObject({ code: 0, json: { outcome: 'cancelled' } })
    const followed = await first.end()
    expect(followed).toMatchObject({ code: 7, json: { outcome: 'cancelled' } })
    expect(followed.json.error.code).toBe('cancelled')
    expect(followed.json.rewrapped).toBe(cancelled.json.rewrapped)
  })

  test('Ctrl-C detaches from a rotation with a message and leaves it running', async () => {
    const follower = fleet.start('rotate', '--to-version', '2', '--max-rate', '1')
    const before = (await fleet.census())[2] ?? 0
    await fleet.until('it re-wraps', async () => ((await fleet.census())[2] ?? 0) > before)
    follower.signal('SIGINT')
    const { code, json, stderr } = await follower.end()
    expect(code).toBe(0)
    expect(json.outcome).toBe('started')
    expect(stderr).toContain('detached: the rotation continues')
    await fleet.must('rate', '0')
    const whole = await fleet.must('rotate', '--to-version', '2')
    expect(whole).toMatchObject({ outcome: 'completed', remaining: 0, silent: [] })
    expect(whole.rotationId).toBe(json.rotationId)
    expect(await fleet.census()).toEqual({ 2: envelopes })
  })

  test('scan counts, and with --unwrap opens every envelope', async () => {
    expect(await fleet.must('scan')).toEqual({
      envelopes,
      byVersion: { 2: envelopes },
      odd: 0,
      opened: null,
      failed: [],
    })
    expect(await fleet.must('scan', '--unwrap')).toMatchObject({ opened: envelopes, failed: [] })
  })

  test('a policy is set, shown, paused, resumed and deleted', async () => {
    const set = await fleet.must('policy', 'set', '--every', '90d', '--remove-after', '30d')
    expect(set.policy).toMatchObject({
      everyDays: 90,
      at: '03:00',
      removeAfterDays: 30,
      paused: false,
    })
    expect((await fleet.must('status')).policy).toEqual(set.policy)
    expect(await fleet.must('policy', 'pause')).toMatchObject({ policy: { paused: true } })
    expect(await fleet.must('policy', 'resume')).toMatchObject({ policy: { paused: false } })
    expect(await fleet.must('policy', 'set', '--every', '30d', '--at', '04:30')).toMatchObject({
      policy: { everyDays: 30, at: '04:30', removeAfterDays: null },
    })
    await fleet.must('policy', 'delete')
    const gone = await fleet.cli('policy', 'show')
    expect(gone).toMatchObject({ code: 3, json: { error: { code: 'policy-missing' } } })
  })

  test('a removal shows every guard and the remaining steps', async () => {
    const active = await fleet.cli('remove', '--version', '2')
    expect(active).toMatchObject({
      code: 3,
      json: { state: 'active', error: { code: 'removal-refused' } },
    })
    expect(active.json.guards).toHaveLength(11)
    const { code, json, stderr } = await fleet.cli('remove', '--version', '1')
    expect({ code, state: json.state }).toEqual({ code: 0, state: 'destroyed' })
    expect(stderr).toContain('hint: delete the variable "KEYTURN_ENCRYPTION_ENV_KEK_V1"')
    const undo = await fleet.cli('remove', '--version', '1', '--undo')
    expect(undo).toMatchObject({ code: 3, json: { error: { code: 'no-removal' } } })
  })

  test('the audit has every change in an unbroken chain, and a changed entry is detected', async () => {
    const { entries } = await fleet.must('audit', 'list')
    const actions = entries.map(({ action }: { action: string }) => action)
    expect(actions).toEqual(
      expect.arrayContaining(['settings-recorded', 'policy-set', 'version-destroyed']),
    )
    expect(await fleet.must('audit', 'verify')).toEqual({
      entries: entries.length,
      ok: true,
      brokenAt: null,
      waiting: 0,
    })
    await fleet.store.db
      .collection<{ _id: number }>('kek_audit')
      .updateOne({ _id: 2 }, { $set: { actor: 'nobody' } })
    const broken = await fleet.cli('audit', 'verify')
    expect(broken).toMatchObject({
      code: 5,
      json: { ok: false, brokenAt: 2, error: { code: 'audit-broken' } },
    })
  })

  test('commands that need a worker fail immediately without one', async () => {
    await Promise.all(['vm-a', 'vm-b'].map((node) => fleet.nodes.kill(node)))
    await fleet.until('the heartbeats expire', async () => {
      const { nodes } = await fleet.must('nodes')
      return nodes.every(({ processes }: { processes: unknown[] }) => processes.length === 0)
    })
    const verify = await fleet.cli('verify', '--target', '2')
    expect(verify).toMatchObject({ code: 4, json: { ready: false, error: { code: 'no-worker' } } })
    expect(verify.json.nodes.map(({ node }: { node: string }) => node)).toEqual(['vm-a', 'vm-b'])
    for (const args of [
      ['env-init', '--version', '3'],
      ['remove', '--version', '2'],
    ]) {
      const { code, json } = await fleet.cli(...args)
      expect({ args, code, error: json.error.code }).toEqual({ args, code: 4, error: 'no-worker' })
    }
    expect((await fleet.must('nodes', 'decommission', 'vm-b')).nodes).toHaveLength(2)
  })
})
