import { randomBytes } from 'node:crypto'
import { Binary } from 'mongodb'
import { beforeEach, expect, test } from 'vitest'
import type { ActivityDeps } from '../../activities/deps.ts'
import { destroyHsmKey } from '../../activities/hsm-removal.ts'
import type { FleetSettings } from '../../contracts/settings.ts'
import { insertFirstActive } from '../../store/kek-active.ts'
import { chainedAudit } from '../support/chained-audit.ts'
import { insertInstall } from '../../store/kek-install.ts'
import { writeSettings } from '../../store/kek-settings.ts'
import { settingsHash } from '../../store/settings-hash.ts'
import { readVersion } from '../../store/kek-versions.ts'
import { recordHsmKey } from '../../store/version-removal.ts'
import { readRemoval } from '../../store/removal-requests.ts'
import { askRemoval, configured, installVersion, testStore } from '../store/support.ts'

const store = await testStore()
const { id } = await insertInstall(store, { name: 'test', created_by: 'alice' })
const versions = store.db.collection<{ _id: number }>('kek_versions')

/** The objects of a faultless token, by label and id. */
const token = new Map<string, string>()
/** Replaces the token's next destruction, once. */
let instead: (() => Promise<never>) | null = null

const ceremony = {
  destroy: async (label: string, keyId: Buffer) => {
    const fault = instead
    instead = null
    const isThere = token.delete(`${label} ${keyId.toString('hex')}`)
    if (fault !== null) return fault()
    return Promise.resolve(isThere ? 'destroyed' : 'absent')
  },
}
const removal = { backupWindowMs: 0, undoWindowMs: 0 }
const fleet = { heartbeatMs: 1_000, leaseMs: 3_000, expireMs: 6_000 }
const settings: FleetSettings = { collections: configured, fleet, removal }
const member = { settingsHash: settingsHash(settings) }
const deps = { store, node: 'vm-a', provider: { ceremony }, member } as unknown as ActivityDeps
const run = async (request: string, version = 1) =>
  await destroyHsmKey(deps, { install: { name: 'test', id }, task: '', version, request })

const keyIdOf = (keystore: string) =>
  Buffer.concat([Buffer.from(keystore, 'hex').subarray(0, 8), randomBytes(8)])
const labelOf = (version: number) => `KEK_V${version}`
let keyIds: Buffer[] = []

for (const version of [1, 2, 3]) await installVersion(store, version)
await insertFirstActive(store, 2)
await writeSettings(store, { settings, by: 'alice' })
const removed = {
  request: 'before',
  requested_by: 'alice',
  requested_at: new Date(0),
  due_at: new Date(0),
  guard_run: 1,
  without_fence: false,
  fenced_at: new Date(0),
  fence_try: null,
  hsm_key: null,
}

/** Version 1 is destroyed and its key still exists; 2 is active. */
beforeEach(async () => {
  keyIds = [1, 2, 3].map(() => keyIdOf(id))
  token.clear()
  for (const [index, keyId] of keyIds.entries()) {
    const label = labelOf(index + 1)
    token.set(`${label} ${keyId.toString('hex')}`, label)
    const key = { provider: 'pkcs11', origin: 'generated', label, key_id: new Binary(keyId) }
    await versions.updateOne(
      { _id: index + 1 },
      { $set: { ...key, removal: null, destroyed_at: null }, $unset: { of_original: '' } },
    )
  }
  await versions.updateOne({ _id: 1 }, { $set: { removal: removed, destroyed_at: new Date(0) } })
  for (const name of ['kek_removals', 'kek_audit', 'kek_audit_outbox'])
    await store.db.collection(name).deleteMany({})
})

const ask = async (version = 1) => await askRemoval(store, version, { destroyHsmKey: true })
const actions = async () => (await chainedAudit(store)).map(({ action }) => action)

test('the key is destroyed and recorded once, and the request ends', async () => {
  const request = await ask()
  expect(await run(request)).toMatchObject({ phase: 'over', hsmKey: 'destroyed' })
  expect(await run(request)).toMatchObject({ phase: 'over', hsmKey: 'destroyed' })
  expect([...token.values()]).toEqual([labelOf(2), labelOf(3)])
  expect(await actions()).toEqual(['hsm-key-destroying', 'hsm-key-destroyed'])
})

test('the next worker ends the request of a worker that died after destroying the key', async () => {
  const request = await ask()
  instead = () => Promise.reject(new Error('the worker died'))
  await expect(run(request)).rejects.toThrow('died')
  expect(await readRemoval(store, request)).toMatchObject({ standing: true })
  expect(await run(request)).toMatchObject({ phase: 'over', hsmKey: 'absent' })
  expect(await actions()).toEqual(['hsm-key-destroying', 'hsm-key-absent'])
})

test('the result of a key’s destruction is recorded only for the request that destroyed it', async () => {
  const other = await askRemoval(store, 1)
  expect(await recordHsmKey(store, other, 'destroyed', 'vm-a')).toBe(false)
  expect(await recordHsmKey(store, 'made-up', 'destroyed', 'vm-a')).toBe(false)
  const pending = await ask(3)
  expect(await recordHsmKey(store, pending, 'destroyed', 'vm-a')).toBe(false)
  expect(await readRemoval(store, pending)).toMatchObject({ standing: true, state: 'asked' })
  for (const version of [1, 3]) {
    expect((await readVersion(store, version))?.removal?.hsm_key ?? null).toBeNull()
  }
  await store.db.collection('kek_removals').deleteMany({})
  const request = await ask()
  expect(await recordHsmKey(store, request, 'absent', 'vm-a')).toBe(true)
  // A late attempt of the step, after the request has ended.
  expect(await recordHsmKey(store, request, 'destroyed', 'vm-a')).toBe(false)
  expect((await readVersion(store, 1))?.removal?.hsm_key).toBe('absent')
})

test.each<[string, () => Record<string, unknown>]>([
  ['the active key’s label', () => ({ label: labelOf(2) })],
  ['its id', () => ({ key_id: new Binary(keyIds[1] ?? Buffer.alloc(0)) })],
  ['a key that was registered', () => ({ origin: 'registered' })],
  ['a key that came with a copy', () => ({ of_original: true })],
  [
    'another keystore’s key, by its id alone',
    () => ({ key_id: new Binary(keyIdOf('ff'.repeat(16))) }),
  ],
  ['no id', () => ({ key_id: null })],
])('no key is destroyed for a row that names %s', async (_, edit) => {
  const index = await store.db.collection('kek_versions').indexExists('label_1_key_id_1')
  if (index) await store.db.collection('kek_versions').dropIndex('label_1_key_id_1')
  await versions.updateOne({ _id: 1 }, { $set: edit() })
  const request = await ask()
  await expect(run(request)).rejects.toMatchObject({ code: 'removal-refused' })
  expect(token.size).toBe(3)
  expect(await actions()).toEqual([])
})

test('the key of a version that is not destroyed or has no request is kept', async () => {
  const living = await ask(2)
  expect(await run(living, 2)).toMatchObject({ phase: 'asked' })
  const without = await askRemoval(store, 1)
  expect(await run(without)).toMatchObject({ phase: 'over', hsmKey: 'kept' })
  await expect(run(without, 2)).rejects.toMatchObject({ code: 'removal-refused' })
  await expect(run('made-up')).rejects.toMatchObject({ code: 'foreign-task' })
  expect(token.size).toBe(3)
})

test('no key is destroyed while the recorded settings are not those of the worker’s file', async () => {
  const request = await ask()
  const weaker = { ...settings, removal: { ...removal, undoWindowMs: 1 } }
  const rows = store.db.collection('kek_settings')
  const edited = { settings: weaker, sha256: new Binary(settingsHash(weaker)) }
  await rows.updateOne({}, { $set: edited })
  await expect(run(request)).rejects.toMatchObject({ code: 'config-differs' })
  expect(token.size).toBe(3)
  expect(await actions()).toEqual([])
  await rows.updateOne({}, { $set: { settings, sha256: new Binary(settingsHash(settings)) } })
})

test('no key is destroyed while a recorded collection is missing or a view', async () => {
  const { name } = configured[0]!
  const request = await ask()
  await store.db.dropCollection(name)
  await expect(run(request)).rejects.toMatchObject({ code: 'collection-missing' })
  await store.db.createCollection(name, { viewOn: 'elsewhere', pipeline: [] })
  await expect(run(request)).rejects.toMatchObject({ code: 'collection-replaced' })
  expect(token.size).toBe(3)
  expect(await actions()).toEqual([])
  await store.db.dropCollection(name)
  await store.db.createCollection(name)
})
