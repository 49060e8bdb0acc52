import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { waitUntil } from '../../devstack/wait-until.ts'
import { absentProvider } from '../../keyring/absent-provider.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import { readUses } from '../../store/kek-uses.ts'
import { heartbeatFact } from '../../protocol/facts.ts'
import { decommissionNode, expectNode, readRoster } from '../../store/fleet-nodes.ts'
import { writeSettings } from '../../store/kek-settings.ts'
import { readVersion } from '../../store/kek-versions.ts'
import { keystore } from '../../store/keystore.ts'
import { serverNow } from '../../store/store.ts'
import { settingsOf } from '../../config/settings.ts'
import { settingsHash } from '../../store/settings-hash.ts'
import { envPrefix, openTestFleet, secretPlace } from './test-fleet.ts'

describe('a member of the fleet', () => {
  test('writes what it is, what it proved and how long it may wrap, by the database’s clock', async () => {
    const fleet = await openTestFleet({ versions: [1, 2] })
    const before = await serverNow(fleet.store)
    const member = await fleet.member()
    const after = await serverNow(fleet.store)
    const [heartbeat] = await fleet.heartbeats()
    expect(heartbeat).toMatchObject({
      _id: `vm-a/${member.boot}`,
      node: 'vm-a',
      pid: process.pid,
      role: 'worker',
      current: 1,
      epoch: 1,
      not_loaded: [],
    })
    expect(heartbeat!.loaded.map(({ version }) => version)).toEqual([1, 2])
    for (const { proven_at } of heartbeat!.loaded) {
      expect(proven_at.getTime()).toBeGreaterThanOrEqual(before.getTime())
      expect(proven_at.getTime()).toBeLessThanOrEqual(heartbeat!.at.getTime())
    }
    expect(heartbeat!.at.getTime()).toBeLessThanOrEqual(after.getTime())
    expect(heartbeatFact(heartbeat!, after)).toMatchObject({
      leaseMs: 3000,
      boot: member.boot,
      settings: settingsHash(settingsOf(fleet.config)).toString('hex'),
    })
    expect(heartbeat!.expires_at.getTime() - heartbeat!.at.getTime()).toBe(5000)
    expect(await readRoster(fleet.store)).toMatchObject([{ _id: 'vm-a', kind: 'host' }])
    expect(member.state()).toEqual({
      installed: true,
      active: { version: 1, epoch: 1 },
      degraded: null,
      loaded: [1, 2],
      notLoaded: [],
      leaseOk: true,
    })
  })

  test('beats by itself, and repeats no proof without a question', async () => {
    const fleet = await openTestFleet()
    await fleet.member()
    const [first] = await fleet.heartbeats()
    const next = await waitUntil(
      'no second heartbeat',
      async () => (await fleet.heartbeats()).find(({ at }) => at > first!.at) ?? null,
      { withinMs: 60_000 },
    )
    // A process knows the database's clock to within some milliseconds; a new proof would be a heartbeat later.
    const beatMs = next.at.getTime() - first!.at.getTime()
    const provenMs = (beat: typeof next) => beat.loaded[0]!.proven_at.getTime()
    expect(Math.abs(provenMs(next) - provenMs(first!))).toBeLessThan(beatMs / 2)
    expect(next.started_at).toEqual(first!.started_at)
  })

  test('reports a new epoch in the same beat in which it reads it', async () => {
    const fleet = await openTestFleet({ versions: [1, 2] })
    const member = await fleet.member()
    await fleet.activate(2)
    await member.beat()
    expect(member.state().active).toEqual({ version: 2, epoch: 2 })
    expect(await fleet.heartbeats()).toMatchObject([{ current: 2, epoch: 2 }])
  })

  test('unloads a version that is pending removal, reports its use, and loads it again after an undo', async () => {
    const fleet = await openTestFleet({ versions: [1, 2] })
    const keyring = await fleet.keyring()
    const old = await keyring.seal('old', secretPlace)
    const uses: object[] = []
    keyring.on('removed-version-used', (event) => uses.push(event))
    await fleet.activate(2)
    await fleet.setRemoval(1, true)
    await waitUntil(
      'version 1 stays loaded',
      async () =>
        (await fleet.heartbeats())[0]?.loaded.every(({ version }) => version === 2) ?? null,
      { withinMs: 60_000 },
    )
    await expect(keyring.open(old, secretPlace)).rejects.toMatchObject({
      code: 'kek-not-loaded',
      message: 'version "1" is not loaded: it is pending-removal',
    })
    expect(uses[0]).toEqual({ version: 1, state: 'pending-removal' })
    // It is on record before the application has the error, once for each envelope.
    const [recorded] = (await readUses(fleet.store, 1)).uses
    const { collection, field } = secretPlace
    const [beat] = await fleet.heartbeats()
    expect(recorded).toMatchObject({ pid: process.pid, role: 'app', count: 1 })
    expect({ ...recorded?._id }).toEqual({
      version: 1,
      node: beat?.node,
      process: beat?._id.split('/')[1],
      collection,
      field,
    })
    await keyring.openMany([1, 2].map(() => ({ envelope: old, place: secretPlace })))
    expect((await readUses(fleet.store, 1)).uses).toMatchObject([{ count: 3 }])
    await fleet.setRemoval(1, false)
    expect(String(await keyring.open(old, secretPlace))).toBe('old')
  })

  test('re-reads the keystore once for a version it does not know', async () => {
    const fleet = await openTestFleet({ versions: [1] })
    const reader = await fleet.keyring({ node: 'reader' })
    const unknown = { ...(await reader.seal('x', secretPlace)), kek_version: 3 }
    await expect(reader.open(unknown, secretPlace)).rejects.toMatchObject({
      code: 'kek-not-loaded',
      message: 'version "3" is not loaded: the keystore has none',
    })
    await fleet.install(2)
    await fleet.activate(2)
    const writer = await fleet.keyring({ node: 'writer' })
    const envelope = await writer.seal('new', secretPlace)
    expect(envelope.kek_version).toBe(2)
    expect(String(await reader.open(envelope, secretPlace))).toBe('new')
  })

  test.each([
    ['contradicts', randomBytes(32).toString('hex'), 'wrong-key'],
    ['lacks', undefined, 'material-missing'],
  ] as const)(
    'is degraded when its host %s the active key: it reports this and wraps nothing',
    async (_title, kek, reason) => {
      const fleet = await openTestFleet({ versions: [1] })
      await fleet.install(2)
      const env = { ...fleet.env, [`${envPrefix}1`]: kek }
      const member = await fleet.member({ env })
      expect(member.state()).toMatchObject({ degraded: { reason }, loaded: [2], leaseOk: true })
      expect(await fleet.heartbeats()).toMatchObject([
        {
          current: null,
          epoch: 1,
          loaded: [{ version: 2 }],
          not_loaded: [{ version: 1, reason }],
        },
      ])
      await expect(member.requireLease()).rejects.toMatchObject({ code: reason })
      const keyring = await fleet.keyring({ env, node: 'vm-b' })
      await expect(keyring.seal('x', secretPlace)).rejects.toMatchObject({ code: reason })
      await fleet.activate(2)
      await member.beat()
      expect(member.state().degraded).toBeNull()
      await member.requireLease()
    },
  )

  test('continues without its provider, and never calls it twice at a time', async () => {
    const fleet = await openTestFleet()
    const refused = new KeyturnError('pin-refused', 'the token refused the PIN')
    const member = await fleet.member({ provider: absentProvider('env', refused) })
    expect(member.state()).toMatchObject({
      degraded: { reason: 'not-loaded', message: 'the token refused the PIN' },
    })
    await expect(member.requireLease()).rejects.toMatchObject({ code: 'pin-refused' })
  })

  test('refuses to start on a decommissioned node, until it is expected again', async () => {
    const fleet = await openTestFleet()
    const first = await fleet.member()
    await first.leave()
    await decommissionNode(fleet.store, 'vm-a', 'test')
    await expect(fleet.member()).rejects.toMatchObject({
      code: 'node-decommissioned',
      hint: expect.stringContaining('nodes expect vm-a') as string,
    })
    expect(await fleet.heartbeats()).toEqual([])
    await expectNode(fleet.store, 'vm-a', 'test')
    expect((await fleet.member()).state().leaseOk).toBe(true)
  })

  test('may not wrap after its node was decommissioned while it runs', async () => {
    const fleet = await openTestFleet()
    const member = await fleet.member()
    await keystore
      .nodes(fleet.store)
      .updateOne({ _id: 'vm-a' }, { $set: { decommissioned_at: new Date() } })
    await expect(member.beat()).rejects.toMatchObject({ code: 'node-decommissioned' })
    expect(() => member.assertLease()).toThrow(expect.objectContaining({ code: 'lease-expired' }))
  })

  test('refuses another install on the same database', async () => {
    const fleet = await openTestFleet()
    await expect(fleet.member({ install: 'other' })).rejects.toMatchObject({
      code: 'install-locked',
    })
  })

  test('leaves the roster with its last process when it is ephemeral; a host stays', async () => {
    const fleet = await openTestFleet()
    const host = await fleet.member()
    const pod = await fleet.member({ node: 'pod-1', kind: 'ephemeral', role: 'app' })
    const nodes = async () => (await readRoster(fleet.store)).map(({ _id }) => _id)
    expect(await nodes()).toEqual(['pod-1', 'vm-a'])
    await pod.leave()
    await host.leave()
    expect(await nodes()).toEqual(['vm-a'])
    expect(await fleet.heartbeats()).toEqual([])
  })

  test('writes its count of wraps to the keystore, at the latest when it leaves', async () => {
    const fleet = await openTestFleet()
    const keyring = await fleet.keyring()
    const place = secretPlace
    await keyring.seal('x', place)
    await keyring.sealMany([1, 2, 3, 4].map((id) => ({ plaintext: 'y', place: { ...place, id } })))
    await keyring.close()
    expect((await readVersion(fleet.store, 1))?.wraps).toBe(5)
  })

  test('uses the recorded timings, not those of its file', async () => {
    const fleet = await openTestFleet()
    const settings = settingsOf(fleet.config)
    const recorded = {
      ...settings,
      fleet: { heartbeatMs: 2000, leaseMs: 60_000, expireMs: 70_000 },
    }
    await writeSettings(fleet.store, { settings: recorded, by: 'test' })
    await fleet.member()
    const [heartbeat] = await fleet.heartbeats()
    expect(heartbeatFact(heartbeat!, heartbeat!.at).leaseMs).toBe(60_000)
    expect(heartbeat!.settings?.toString('hex')).toBe(settingsHash(settings).toString('hex'))
  })

  test('rejects every call after it has left', async () => {
    const fleet = await openTestFleet()
    const member = await fleet.member()
    await member.leave()
    expect(() => member.assertLease()).toThrow(expect.objectContaining({ code: 'pool-closed' }))
    await expect(member.beat()).rejects.toMatchObject({ code: 'pool-closed' })
    await expect(member.requireLease()).rejects.toMatchObject({ code: 'pool-closed' })
  })
})
