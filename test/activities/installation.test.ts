import { randomBytes } from 'node:crypto'
import { MockActivityEnvironment } from '@temporalio/testing'
import { beforeEach, describe, expect, inject, test } from 'vitest'
import type { ActivityDeps } from '../../activities/deps.ts'
import { installationActivities } from '../../activities/installation.ts'
import { ceremonyActivities } from '../../activities/key-ceremony.ts'
import type { InstallInput } from '../../contracts/install.ts'
import type { ProviderName } from '../../contracts/kek.ts'
import { silentLog } from '../../observability/log.ts'
import { openEnvProvider } from '../../providers/env/env-provider.ts'
import type { KekProvider } from '../../providers/provider.ts'
import { insertInstall } from '../../store/kek-install.ts'
import { keystore } from '../../store/keystore.ts'
import { readVersion } from '../../store/kek-versions.ts'
import type { Store } from '../../store/store.ts'
import { pkcs11Fixture, run } from '../providers/fixture.ts'
import { testStore } from '../store/support.ts'
import { quietLogger } from '../support/quiet-runtime.ts'

const name = 'fixture'
const store = await testStore()
beforeEach(async () => {
  for (const of of [keystore.versions, keystore.active, keystore.audit, keystore.install]) {
    await of(store).deleteMany({})
  }
  await insertInstall(store, { name, created_by: 'alice' })
})

const [one, two] = [randomBytes(32), randomBytes(32)]
const env = openEnvProvider({
  install: name,
  variablePrefix: 'KEK_V',
  keks: new Map([
    [1, one],
    [2, two],
    [3, one],
    [4, one],
    [5, randomBytes(32)],
  ]),
})

function depsOf(provider: KekProvider, on: Store = store): ActivityDeps {
  const fleet = { heartbeatMs: 1000, leaseMs: 3000, expireMs: 4000 }
  const config = { install: name, kek: { provider: provider.name }, fleet }
  const member = {
    boot: 'b',
    beat: () => Promise.resolve(),
    state: () => ({ active: null, degraded: null }),
  }
  return { config, node: 'vm-a', store: on, provider, member, log: silentLog } as never
}

type Input = Omit<InstallInput, 'install'> & { install: never }

const asked = (version: unknown, change: object = {}): Input =>
  ({
    install: name,
    version,
    provider: 'env',
    origin: 'environment',
    label: null,
    keyId: null,
    requestedBy: 'alice',
    ...change,
  }) as never

const steps = ['checkInstall', 'probeToken', 'declareIntent', 'makeKek'] as const
type Step = (typeof steps)[number]

async function take(step: Step, input: unknown, provider: KekProvider = env): Promise<unknown> {
  const deps = depsOf(provider)
  const activities = { ...installationActivities(deps), ...ceremonyActivities(deps) }
  const activity = activities[step] as (input: never) => Promise<unknown>
  return await new MockActivityEnvironment({}, { logger: quietLogger }).run(
    async () => await activity(input as never),
  )
}

async function installed(version: number, input = asked(version), provider = env): Promise<void> {
  for (const step of steps) await take(step, input, provider)
}

describe('a new version needs a new key', () => {
  test('the key of another version is refused before anything is written, and that version is named', async () => {
    await installed(1)
    await installed(2)
    await expect(take('probeToken', asked(3))).rejects.toMatchObject({
      code: 'key-exists',
      message: 'the key "KEK_V3" of version 3 is the key of version 1',
    })
    expect(await readVersion(store, 3)).toBeNull()
    await installed(5)
  })

  test('the key of another version is also refused by the step that installs it', async () => {
    await installed(1)
    await take('declareIntent', asked(3))
    await expect(take('makeKek', asked(3))).rejects.toMatchObject({ code: 'key-exists' })
    expect(await readVersion(store, 3)).toMatchObject({ canary: null })
  })

  test('a destroyed version’s key cannot be installed again', async () => {
    await installed(2)
    await installed(1)
    await keystore.versions(store).updateOne({ _id: 1 }, { $set: { destroyed_at: new Date() } })
    await expect(take('probeToken', asked(3))).rejects.toMatchObject({
      message: 'the key "KEK_V3" of version 3 is the key of version 1, which was destroyed',
    })
  })

  test('of two concurrent installations of one key at most one remains', async () => {
    await installed(2)
    for (const version of [3, 4]) await take('declareIntent', asked(version))
    const ends = await Promise.allSettled([3, 4].map((version) => take('makeKek', asked(version))))
    const rows = await keystore
      .versions(store)
      .find({ _id: { $in: [3, 4] } })
      .toArray()
    expect(rows.filter(({ canary }) => canary !== null).length).toBeLessThan(2)
    const refused = ends.filter(({ status }) => status === 'rejected')
    expect(refused.length).toBeGreaterThan(0)
    for (const end of refused) expect(end).toMatchObject({ reason: { code: 'key-exists' } })
  })
})

const state = async (): Promise<unknown> => ({
  versions: await keystore.versions(store).find().toArray(),
  active: await keystore.active(store).find().toArray(),
  install: await keystore.install(store).find().toArray(),
})

const forged: [string, unknown, string][] = [
  ['another provider', asked(7, { provider: 'pkcs11', origin: 'generated' }), 'config-differs'],
  ['no provider', asked(7, { provider: { $ne: 1 } }), 'config-differs'],
  ['a key that is made where none can be', asked(7, { origin: 'generated' }), 'usage'],
  ['a registered key', asked(7, { origin: 'registered', label: 'x' }), 'usage'],
  ['an origin that there is not', asked(7, { origin: 'borrowed' }), 'usage'],
  ['version 0', asked(0), 'version-invalid'],
  ['a version too large', asked(2 ** 31), 'version-invalid'],
  ['half a version', asked(1.5), 'version-invalid'],
  ['a version of text', asked('7'), 'version-invalid'],
  ['a query for a version', asked({ $gt: 0 }), 'version-invalid'],
  ['a query for a label', asked(7, { label: { $ne: null } }), 'usage'],
  ['a key id that is no hex', asked(7, { keyId: 'zz' }), 'usage'],
  ['nothing', null, 'usage'],
  ['a text', 'v7', 'usage'],
]

describe.each(steps)('%s with a forged input', (step) => {
  test.each(forged)('%s does nothing', async (_, input, code) => {
    const before = await state()
    await expect(take(step, input)).rejects.toMatchObject({ code })
    expect(await state()).toEqual(before)
  })
})

test('an input with another install does not lock the keystore for it', async () => {
  await installed(1, asked(1, { install: 'somebody-else', label: 'VAULT_TOKEN' }))
  expect(JSON.stringify(await state())).not.toContain('somebody-else')
  expect(await readVersion(store, 1)).toMatchObject({ label: 'KEK_V1' })
})

test('an installed version is not made again, and a destroyed one is never made', async () => {
  await installed(1)
  const before = await state()
  await take('declareIntent', asked(1))
  expect(await take('makeKek', asked(1))).toMatchObject({ version: 1, created: false })
  expect(await state()).toEqual(before)
  await keystore.versions(store).updateOne({ _id: 1 }, { $set: { destroyed_at: new Date() } })
  for (const step of steps) {
    await expect(take(step, asked(1))).rejects.toMatchObject({ code: 'version-destroyed' })
  }
})

describe.skipIf(inject('softhsm') === null)('in a token', () => {
  test('the same key under another label is refused, and forged steps change no object', async () => {
    const fixture = await pkcs11Fixture()
    const provider = await fixture.open({ keyLabelPrefix: 'inst' })
    const objects = async () => {
      const { modulePath, label, pin } = fixture.token
      const login = ['--module', modulePath, '--token-label', label, '--login', '--pin', pin]
      return (await run('pkcs11-tool', [...login, '-O'])).stdout
    }
    const inHsm = (version: number, change: object = {}): Input =>
      asked(version, { provider: 'pkcs11' satisfies ProviderName, origin: 'generated', ...change })
    try {
      await installed(1, inHsm(1), provider)
      const v1 = await readVersion(store, 1)
      const before = await objects()

      // The object of version 1 is installed again as version 2.
      const again = inHsm(2, { origin: 'registered', label: v1!.label })
      for (const step of ['probeToken', 'declareIntent'] as const) {
        await expect(take(step, again, provider)).rejects.toMatchObject({ code: 'version-exists' })
      }
      // The same holds under a label that the keystore does not know: its material is recognised.
      await keystore.versions(store).updateOne({ _id: 1 }, { $set: { label: 'before' } })
      await expect(take('probeToken', again, provider)).rejects.toMatchObject({
        code: 'key-exists',
        message: `the key "${v1!.label}" of version 2 is the key of version 1`,
      })
      await keystore.versions(store).updateOne({ _id: 1 }, { $set: { label: v1!.label } })

      // A caller cannot choose the label of a new key.
      await take('declareIntent', inHsm(3, { label: v1!.label }), provider)
      expect(await readVersion(store, 3)).toMatchObject({ label: 'inst-v3' })

      // Its key is destroyed in the token, and the step does not make another.
      await keystore.versions(store).updateOne({ _id: 1 }, { $set: { destroyed_at: new Date() } })
      await provider.ceremony.destroy(v1!.label, Buffer.from(v1!.key_id!.buffer))
      await expect(take('makeKek', inHsm(1), provider)).rejects.toMatchObject({
        code: 'version-destroyed',
      })
      await expect(
        take('makeKek', inHsm(1, { provider: 'env', origin: 'environment' }), provider),
      ).rejects.toMatchObject({ code: 'config-differs' })
      expect(await objects()).not.toContain('inst-v')
      expect(before).toContain('inst-v1')
    } finally {
      await provider.close()
      await fixture.close()
    }
  })
})
