import { settingsHash } from '../../store/settings-hash.ts'
import { randomBytes } from 'node:crypto'
import { beforeEach, describe, expect, test } from 'vitest'
import type { NodeKind } from '../../contracts/fleet.ts'
import { readForBeat } from '../../store/beat-reading.ts'
import { insertFirstActive, readActive } from '../../store/kek-active.ts'
import {
  claimProvider,
  countInstallation,
  insertInstall,
  readInstall,
  requireInstall,
} from '../../store/kek-install.ts'
import { readHome } from '../../store/keystore-home.ts'
import { readSettings, writeSettings } from '../../store/kek-settings.ts'
import {
  completeInstall,
  countWraps,
  insertIntent,
  kekDescriptor,
  readVersion,
  readVersions,
} from '../../store/kek-versions.ts'
import {
  decommissionNode,
  expectNode,
  leaveNode,
  readRoster,
  seeNode,
} from '../../store/fleet-nodes.ts'
import {
  readHeartbeats,
  removeHeartbeat,
  writeHeartbeat,
  type Heartbeat,
} from '../../store/process-heartbeats.ts'
import { endRotation, lastRotation, readRotation, runningRotation } from '../../store/rotations.ts'
import { reserveHsmCalls, setPhase } from '../../store/rotation-progress.ts'
import { indexFaults } from '../../store/index-faults.ts'
import { createIndexes } from '../../store/indexes.ts'
import { keystore } from '../../store/keystore.ts'
import { serverNow } from '../../store/store.ts'
import { configured, installVersion, otherProcess, startRotation, testStore } from './support.ts'

const store = await testStore()
const other = await otherProcess(store)
const beat: Heartbeat = {
  node: '$vm.a',
  boot: 'b1',
  pid: 7,
  role: 'worker',
  current: 1,
  epoch: 1,
  loaded: [{ version: 1, proven_at: new Date(5) }],
  settings: randomBytes(32),
  leaseMs: 90_000,
  expireMs: 120_000,
}

describe('the identity of a keystore', () => {
  test('is created once, also by two processes at once, and records its home', async () => {
    const both = await Promise.all([
      insertInstall(store, { name: 'payments', created_by: 'alice' }),
      insertInstall(other, { name: 'payments', created_by: 'bob' }),
    ])
    expect(both[0]).toEqual(both[1])
    expect(await insertInstall(store, { name: 'other', created_by: 'eve' })).toEqual(both[0])
    expect(both[0]).toMatchObject({ schema: 2, provider: null, stores: [] })
    expect(both[0].id).toMatch(/^[0-9a-f]{32}$/)
    expect(both[0].home.collection).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
    expect(both[0].home).toEqual(await readHome(other))
    expect(both[0].home.hosts).toHaveLength(1)
  })

  test('gets its provider from the first installed version and keeps it', async () => {
    const claims = [
      claimProvider(store, { name: 'payments', provider: 'env', by: 'vm-a' }),
      claimProvider(other, { name: 'payments', provider: 'pkcs11', by: 'vm-b' }),
    ]
    const ends = await Promise.allSettled(claims)
    expect(ends.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    const provider = (await readInstall(store))?.provider ?? null
    if (provider === null) throw new Error('it has no provider')
    await countInstallation(store, provider)
    const kept = await requireInstall(store, { name: 'payments', provider })
    const entry = { name: provider, provider, token: null, installs: 1, retired_at: null }
    expect(kept?.stores).toMatchObject([entry])
    const wrong = provider === 'env' ? 'pkcs11' : 'env'
    await expect(requireInstall(store, { name: 'x', provider })).rejects.toMatchObject({
      code: 'install-locked',
    })
    await expect(
      requireInstall(store, { name: 'payments', provider: wrong }),
    ).rejects.toMatchObject({
      code: 'install-locked',
      message: `the database is locked for provider "${provider}", not "${wrong}"`,
    })
  })

  test.each([
    [1, 'schema-older'],
    [undefined, 'schema-older'],
    ['2', 'schema-older'],
    [3, 'schema-newer'],
  ])('is refused by name when its schema is %s', async (schema, code) => {
    const install = keystore.install(other)
    const before = await install.findOneAndUpdate({}, { $set: { schema: schema as number } })
    await expect(
      requireInstall(store, { name: 'payments', provider: 'env' }),
    ).rejects.toMatchObject({ code })
    await install.replaceOne({}, before ?? ({} as never))
  })

  test('is not created again when versions exist', async () => {
    const install = keystore.install(store)
    const before = await install.findOneAndDelete({ _id: 'install' })
    await installVersion(store, 77)
    await expect(
      insertInstall(store, { name: 'payments', created_by: 'eve' }),
    ).rejects.toMatchObject({ code: 'install-locked' })
    await keystore.versions(store).deleteOne({ _id: 77 })
    await install.insertOne(before ?? ({} as never))
  })
})

describe('settings', () => {
  test('are absent at first, then written and replaced', async () => {
    expect(await readSettings(store)).toBeNull()
    const settings = {
      collections: configured,
      fleet: { heartbeatMs: 1, leaseMs: 2, expireMs: 3 },
      removal: { backupWindowMs: 0, undoWindowMs: 0 },
    }
    const sha256 = settingsHash(settings)
    await writeSettings(store, { settings, by: '$alice' })
    await writeSettings(store, { settings, by: '$bob' })
    const row = await readSettings(store)
    expect(row).toMatchObject({ settings, by: '$bob', at: expect.any(Date) as Date })
    expect(Buffer.from(row?.sha256.value() ?? [])).toEqual(sha256)
  })
})

describe('versions', () => {
  test('begin as an intent whose repeat gets the same key id, and are completed once', async () => {
    const intent = {
      version: 5,
      provider: 'pkcs11',
      label: 'k-v5',
      keyId: randomBytes(16),
      origin: 'generated',
      madeBy: 'vm-a',
      requestedBy: 'alice',
    } as const
    const first = await insertIntent(store, intent)
    const again = await insertIntent(other, { ...intent, keyId: randomBytes(16) })
    expect(again.key_id?.toString('hex')).toBe(first.key_id?.toString('hex'))
    expect(kekDescriptor(again)).toBeNull()
    const made = {
      gcm: { ivMode: 'caller', ivLength: 12, tagBits: 128 },
      canary: { dekIv: randomBytes(12), dekWrapped: randomBytes(48), digest: randomBytes(32) },
      label: 'k-v5',
      keyId: intent.keyId,
    } as const
    expect(await completeInstall(store, 5, made, intent)).toBe(true)
    expect(await completeInstall(other, 5, { ...made, label: 'other' }, intent)).toBe(false)
    expect(kekDescriptor((await readVersion(store, 5))!)).toEqual({
      version: 5,
      provider: 'pkcs11',
      ...made,
    })
    expect((await readVersions(store)).map(({ _id }) => _id)).toContain(5)
  })

  test('add up their wraps', async () => {
    await countWraps(
      store,
      new Map([
        [5, 3],
        [99, 1],
      ]),
    )
    await countWraps(
      store,
      new Map([
        [5, 4],
        [6, 0],
      ]),
    )
    await countWraps(store, new Map())
    expect(await readVersion(store, 5)).toMatchObject({ wraps: 7 })
  })

  test('have one first active version when two are activated at once', async () => {
    await installVersion(store, 1)
    expect(await insertFirstActive(store, 42)).toBeNull()
    const both = await Promise.all([insertFirstActive(store, 1), insertFirstActive(other, 5)])
    expect(both[0]).toEqual(both[1])
    expect(await readActive(store)).toMatchObject({ epoch: 1, rotation: null })
    expect(await readVersion(store, both[0]!.version)).toMatchObject({
      activated_at: expect.any(Date) as Date,
    })
  })
})

describe('heartbeats', () => {
  test('have the database’s time, keep their start, and are deleted by TTL', async () => {
    await writeHeartbeat(store, beat)
    const [first] = await readHeartbeats(store)
    expect(Math.abs(Number(await serverNow(store)) - Number(first?.at))).toBeLessThan(10_000)
    await writeHeartbeat(store, { ...beat, current: 2, epoch: 2, settings: null })
    const [row] = await readHeartbeats(store)
    expect(row).toMatchObject({
      _id: '$vm.a/b1',
      node: '$vm.a',
      pid: 7,
      role: 'worker',
      current: 2,
      loaded: beat.loaded,
      started_at: first?.started_at,
      settings: null,
    })
    expect(Number(row?.lease_until) - Number(row?.at)).toBe(90_000)
    expect(Number(row?.expires_at) - Number(row?.at)).toBe(120_000)
    const indexes = await keystore.heartbeats(store).indexes()
    expect(indexes).toContainEqual(
      expect.objectContaining({ key: { expires_at: 1 }, expireAfterSeconds: 0 }),
    )
    await removeHeartbeat(store, '$vm.a/b1')
    expect(await readHeartbeats(store)).toEqual([])
  })
})

describe('the roster', () => {
  beforeEach(async () => {
    await keystore.nodes(store).deleteMany({})
    await keystore.heartbeats(store).deleteMany({})
  })

  test('has hosts and ephemeral nodes; a host stays a host', async () => {
    const first = await seeNode(store, 'vm-a', 'host')
    const again = await seeNode(store, 'vm-a', 'ephemeral')
    expect(again).toMatchObject({
      kind: 'host',
      first_seen: first.first_seen,
      decommissioned_at: null,
    })
    await seeNode(store, 'app-1', 'ephemeral')
    await leaveNode(store, 'vm-a')
    await leaveNode(store, 'app-1')
    expect((await readRoster(store)).map(({ _id }) => _id)).toEqual(['vm-a'])
  })

  test('keeps an ephemeral node while another of its processes runs', async () => {
    await seeNode(store, '$vm.a', 'ephemeral')
    await writeHeartbeat(store, beat)
    await leaveNode(store, '$vm.a')
    expect(await readRoster(store)).toHaveLength(1)
  })

  test('refuses a decommissioned node until it is expected again', async () => {
    await seeNode(store, 'vm-a', 'host')
    const { decommissioned_at: at } = await decommissionNode(store, 'vm-a', '$alice')
    expect(await decommissionNode(store, 'vm-a', 'bob')).toMatchObject({
      decommissioned_at: at,
      decommissioned_by: '$alice',
    })
    await expect(seeNode(store, 'vm-a', 'host')).rejects.toMatchObject({
      code: 'node-decommissioned',
    })
    expect(await expectNode(store, 'vm-a', 'test')).toMatchObject({
      decommissioned_at: null,
      kind: 'host',
    })
    await seeNode(store, 'vm-a', 'host')
    expect(await expectNode(store, 'vm-z', 'test')).toMatchObject({ last_seen: null })
  })

  test('is read after a heartbeat, together with versions, the active version and settings', async () => {
    await seeNode(store, '$vm.a', 'host')
    const { settings, versions, active, isSeen, now } = await readForBeat(store, '$vm.a', 'host')
    expect(settings).toEqual(await readSettings(store))
    expect(versions).toEqual(await readVersions(store))
    expect(active).toEqual(await readActive(store))
    expect(isSeen).toBe(true)
    expect(now.getTime()).toBeLessThanOrEqual((await serverNow(store)).getTime())
    expect((await readForBeat(store, 'vm-unknown', 'host')).now.getTime()).toBeGreaterThanOrEqual(
      now.getTime(),
    )
    const isSeenAs = async (node: string, kind: NodeKind) =>
      (await readForBeat(store, node, kind)).isSeen
    // A host that runs an ephemeral process stays one; a node that becomes a host must be written.
    expect(await isSeenAs('$vm.a', 'ephemeral')).toBe(true)
    await seeNode(store, 'app-1', 'ephemeral')
    expect(await isSeenAs('app-1', 'host')).toBe(false)
    await expectNode(store, 'vm-z', 'test')
    expect(await isSeenAs('vm-z', 'host')).toBe(false)
    await decommissionNode(store, '$vm.a', 'a')
    expect(await isSeenAs('$vm.a', 'host')).toBe(false)
  })

  test('refuses to decommission an unknown or a live node', async () => {
    await expect(decommissionNode(store, 'vm-x', 'a')).rejects.toMatchObject({
      code: 'node-unknown',
    })
    await seeNode(store, '$vm.a', 'host')
    await writeHeartbeat(store, beat)
    await expect(decommissionNode(store, '$vm.a', 'a')).rejects.toMatchObject({ code: 'node-live' })
  })
})

describe('a rotation', () => {
  test('moves through its phases and ends once', async () => {
    const rotation = await startRotation(store)
    expect(await setPhase(store, rotation, 'rewrap', { total: 5 })).toBe(true)
    expect(await runningRotation(store)).toMatchObject({ _id: rotation, phase: 'rewrap', total: 5 })
    await setPhase(store, rotation, 'finish')
    const counters = { rewrapped: 4, superseded: 1, quarantined: 0, hsmCalls: 12 }
    expect(await endRotation(store, rotation, 'completed', { counters, silent: ['$vm'] })).toBe(
      true,
    )
    expect(await endRotation(store, rotation, 'failed')).toBe(false)
    expect(await setPhase(store, rotation, 'settle')).toBe(false)
    expect(await readRotation(store, rotation)).toMatchObject({
      phase: 'finish',
      outcome: 'completed',
      counters: { rewrapped: 4, superseded: 1, quarantined: 0, hsm_calls: 12 },
      silent: ['$vm'],
      settled_at: expect.any(Date) as Date,
      ended_at: expect.any(Date) as Date,
    })
    expect(await lastRotation(store)).toMatchObject({ _id: rotation })
  })

  test('reserves crypt calls up to its budget, also for many callers at once', async () => {
    const rotation = await startRotation(store)
    expect(await reserveHsmCalls(store, rotation, 1e6)).toBe(true)
    await keystore
      .rotations(store)
      .updateOne({ _id: rotation }, { $set: { max_hsm_calls: 100, hsm_reserved: 0 } })
    const all = await Promise.all(
      Array.from({ length: 15 }, () => reserveHsmCalls(store, rotation, 9)),
    )
    expect(all.filter(Boolean)).toHaveLength(11)
    expect(await reserveHsmCalls(store, rotation, 1)).toBe(true)
    expect(await reserveHsmCalls(store, rotation, 1)).toBe(false)
    await endRotation(store, rotation, 'failed')
    expect(await readRotation(store, rotation)).toMatchObject({ hsm_reserved: 100 })
  })
})

describe('indexes and shapes', () => {
  test('are reported missing until setup has created them', async () => {
    const lacking = async () => [
      ...new Set((await indexFaults(store, more)).map(({ place }) => place)),
    ]
    const more = [...configured, { name: 'later', envelopes: ['x', 'y.z'] }]
    expect(await lacking()).toEqual(['later.x', 'later.y.z'])
    await store.db
      .collection('later')
      .createIndex({ 'x.kek_version': 1, _id: 1 }, { sparse: true, name: 'sparse' }, {})
    expect(await lacking()).toEqual(['later.x', 'later.y.z'])
    await store.db.collection('later').dropIndexes()
    await createIndexes(store, more)
    await createIndexes(store, more)
    expect(await lacking()).toEqual([])
  })
})
