import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { ActivityDeps } from '../../activities/deps.ts'
import { installationActivities } from '../../activities/installation.ts'
import { insertInstall } from '../../store/kek-install.ts'
import { ceremonyActivities } from '../../activities/key-ceremony.ts'
import type { InstallInput } from '../../contracts/install.ts'
import type { Pkcs11Provider } from '../../providers/pkcs11/pkcs11-provider.ts'
import { insertIntent, readVersion, readVersions } from '../../store/kek-versions.ts'
import { testStore } from '../store/support.ts'
import { install, pkcs11Fixture, run, type Pkcs11Fixture } from './fixture.ts'

/** The steps of the workflow installKek, without Temporal: they are what a registration consists of. */
describe.skipIf(inject('softhsm') === null)('a key that an administrator made', async () => {
  const store = await testStore()
  let fixture: Pkcs11Fixture
  let provider: Pkcs11Provider
  let register: (version: number, label: string | null, keyId?: string) => Promise<unknown>

  const tool = async (...args: string[]): Promise<string> => {
    const { modulePath, label, pin } = fixture.token
    const login = ['--module', modulePath, '--token-label', label, '--login', '--pin', pin]
    return (await run('pkcs11-tool', [...login, ...args])).stdout
  }
  const keygen = (label: string, id: string, ...more: string[]) =>
    tool('--keygen', '--key-type', 'AES:32', '--private', '--label', label, '--id', id, ...more)

  beforeAll(async () => {
    fixture = await pkcs11Fixture()
    provider = await fixture.open()
    await insertInstall(store, { name: install, created_by: 'test' })
    const member = { state: () => ({ active: null, degraded: null }), beat: async () => undefined }
    const kek = { provider: 'pkcs11' }
    const config = { install, kek, fleet: { heartbeatMs: 2000, leaseMs: 6000, expireMs: 10_000 } }
    const deps = { store, provider, node: 'vm-a', member, config } as unknown as ActivityDeps
    const steps = { ...installationActivities(deps), ...ceremonyActivities(deps) }
    register = async (version, label, keyId) => {
      const origin = 'registered' as const
      const fields = {
        install: { name: install, id: '0f' },
        task: '',
        version,
        provider: 'pkcs11' as const,
        origin,
        label,
      }
      const input: InstallInput = { ...fields, keyId: keyId ?? null, requestedBy: 'test' }
      const { installed } = await steps.checkInstall(input)
      if (installed !== null) return installed
      const probe = await steps.probeToken(input)
      await steps.declareIntent(input)
      return { ...(await steps.makeKek(input)), probe }
    }
    await keygen('one', '01', '--sensitive')
    await keygen('two', '02', '--sensitive')
    await keygen('twin', '0a', '--sensitive')
    await keygen('twin', '0b', '--sensitive')
  })
  afterAll(async () => {
    await provider.close()
    await fixture.close()
  })

  test('is refused with the attribute it lacks, and nothing is written', async () => {
    await keygen('loose', '10', '--sensitive', '--extractable')
    await keygen('plain', '11')
    await tool('--keygen', '--key-type', 'AES:32', '--label', 'public', '--id', '12', '--sensitive')
    const refused = (message: string) => ({ code: 'key-attributes', message })
    await expect(register(1, 'loose')).rejects.toMatchObject(
      refused('key "loose" is not CKA_EXTRACTABLE=false'),
    )
    await expect(register(1, 'plain')).rejects.toMatchObject(
      refused('key "plain" is not CKA_SENSITIVE=true'),
    )
    await expect(register(1, 'public')).rejects.toMatchObject(
      refused('key "public" is not CKA_PRIVATE=true'),
    )
    await expect(register(1, null)).rejects.toMatchObject({ code: 'key-not-found' })
    await expect(register(1, 'one', '99')).rejects.toMatchObject({ code: 'key-not-found' })
    await expect(register(1, 'twin')).rejects.toMatchObject({
      code: 'key-ambiguous',
      hint: expect.stringContaining('--id') as string,
    })
    expect(await readVersions(store)).toEqual([])
  })

  test('is installed with a canary that it opens, and the token is unchanged', async () => {
    const before = await tool('-O')
    const result = await register(1, 'one')
    expect(result).toMatchObject({ version: 1, label: 'one', created: true, active: true })
    const phases = [
      { phase: 'mechanisms', ok: true },
      { phase: 'aead', ok: true },
    ]
    expect(result).toMatchObject({ probe: { usable: true, tamperCode: 5, phases } })
    expect(await tool('-O')).toBe(before)
    const row = await readVersion(store, 1)
    expect(row).toMatchObject({ origin: 'registered', label: 'one', gcm: { iv_mode: 'caller' } })
    expect(Buffer.from(row!.key_id!.buffer).toString('hex')).toBe('01')
    expect(await register(1, 'one', '01')).toMatchObject({ created: false })
    expect(await register(2, 'twin', '0B'.toLowerCase())).toMatchObject({ created: true })
  })

  test('stays one version, and a version keeps its key', async () => {
    await expect(register(1, 'two')).rejects.toMatchObject({
      code: 'version-exists',
      message: 'version "1" is installed with key "one" (id 01)',
    })
    await expect(register(1, 'one', '02')).rejects.toMatchObject({ code: 'version-exists' })
    await expect(register(3, 'one')).rejects.toMatchObject({
      code: 'version-exists',
      message: 'key "one" is version 1 already',
    })
    expect(await readVersion(store, 3)).toBeNull()
  })

  test('becomes one version when two register it at once under two numbers', async () => {
    for (const [round, versions] of [
      [1, [11, 12]],
      [2, [13, 14]],
    ] as const) {
      await keygen(`raced-${round}`, `3${round}`, '--sensitive')
      const ends = await Promise.allSettled(
        versions.map((each) => register(each, `raced-${round}`)),
      )
      expect(ends.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
      const refused = ends.find((end) => end.status === 'rejected')
      expect(refused?.reason).toMatchObject({ code: 'version-exists' })
      const rows = (await readVersions(store)).filter(({ label }) => label === `raced-${round}`)
      expect(rows).toHaveLength(1)
      expect(rows[0]?.canary).not.toBeNull()
    }
    // Both have seen that no version has the key, and go on.
    const base = { provider: 'pkcs11', origin: 'registered', label: 'raced', madeBy: 'a' } as const
    const keyId = randomBytes(16)
    const intents = [21, 22, 23, 24].map((version) =>
      insertIntent(store, { requestedBy: 'alice', ...base, version, keyId }),
    )
    const ends = await Promise.allSettled(intents)
    const first = ends.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : []))
    expect(first).toHaveLength(1)
    for (const end of ends) {
      if (end.status === 'fulfilled') continue
      expect(end.reason).toMatchObject({
        code: 'version-exists',
        message: `key "raced" is version ${first[0]?._id} already`,
      })
    }
  })

  test('never takes over an intent of pkcs11-init', async () => {
    const intent = { version: 4, provider: 'pkcs11' as const, label: 'fixture-v4', madeBy: 'vm-b' }
    await insertIntent(store, {
      requestedBy: 'alice',
      ...intent,
      origin: 'generated',
      keyId: randomBytes(16),
    })
    const before = await tool('-O')
    await expect(register(4, 'two')).rejects.toMatchObject({
      code: 'version-exists',
      hint: 'finish it (keyturn pkcs11-init --version 4), or take the next number',
    })
    expect(await tool('-O')).toBe(before)
  })

  test('that was imported is registered with a warning', async () => {
    const file = join(fixture.token.folder, 'imported')
    await writeFile(file, randomBytes(32), { mode: 0o600 })
    const how = ['--write-object', file, '--type', 'secrkey', '--key-type', 'AES:32']
    await tool(...how, '--private', '--sensitive', '--label', 'imported', '--id', '20')
    const report = await provider.ceremony.examine('imported', null)
    expect(report.usable).toBe(true)
    expect(report.warnings.join()).toMatch(/key "imported" has CKA_NEVER_EXTRACTABLE=false: /)
    expect((await provider.ceremony.examine('two', null)).warnings).toEqual([])
  })
})
