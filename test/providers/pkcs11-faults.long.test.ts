import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest'
import type { KekDescriptor } from '../../contracts/kek.ts'
import { silentLog } from '../../observability/log.ts'
import { openPkcs11Provider, type Pkcs11Provider } from '../../providers/pkcs11/pkcs11-provider.ts'
import { probeToken } from '../../providers/pkcs11/probe/probe.ts'
import {
  canBuildFaultHsm,
  makeFaultHsm,
  useFaultHsm,
  type FaultHsm,
} from '../fault-hsm/fault-hsm.ts'
import {
  flip,
  install,
  pkcs11Fixture,
  randomDeks,
  sealedItems,
  until,
  type Pkcs11Fixture,
} from './fixture.ts'

const gcc = await canBuildFaultHsm()

describe.skipIf(inject('softhsm') === null || !gcc)('a token in trouble', () => {
  let fixture: Pkcs11Fixture
  let module: FaultHsm
  let provider: Pkcs11Provider
  let v1: KekDescriptor
  let v2: KekDescriptor

  beforeAll(async () => {
    fixture = await pkcs11Fixture()
    module = await makeFaultHsm(fixture.token.folder, fixture.token.modulePath)
    useFaultHsm(module)
    fixture.config = { ...fixture.config, modulePath: module.path }
    provider = await fixture.open({ modulePath: module.path })
    v1 = await fixture.make(provider, 1)
    v2 = await fixture.make(provider, 2)
    await provider.load(v1)
    await provider.load(v2)
  })
  afterEach(() => module.heal())
  afterAll(async () => {
    await provider.close()
    await fixture.close()
  })

  test.each([
    ['sessions are dropped', 'answer C_EncryptInit CKR_SESSION_HANDLE_INVALID 3'],
    ['an operation was left active', 'answer C_DecryptInit CKR_OPERATION_ACTIVE 3'],
    ['an operation is not initialized', 'answer C_Encrypt CKR_OPERATION_NOT_INITIALIZED 2'],
    ['the device fails', 'answer C_Encrypt CKR_DEVICE_ERROR 2'],
    ['the device is removed', 'answer C_Decrypt CKR_DEVICE_REMOVED 2'],
    ['the login is lost', 'answer C_EncryptInit CKR_USER_NOT_LOGGED_IN 2'],
    ['it throttles encryptions', 'answer C_Encrypt CKR_FUNCTION_FAILED 5'],
    ['it throttles decryptions', 'answer C_Decrypt CKR_FUNCTION_FAILED 5'],
    ['its memory is full for a while', 'answer C_Encrypt CKR_DEVICE_MEMORY 4'],
    ['a key handle went stale', 'answer C_EncryptInit CKR_KEY_HANDLE_INVALID 1'],
    ['key handles went stale', 'answer C_EncryptInit CKR_KEY_HANDLE_INVALID 2'],
    ['a session is dropped', 'answer C_Encrypt CKR_SESSION_HANDLE_INVALID 1'],
    ['object handles went stale', 'answer C_DecryptInit CKR_OBJECT_HANDLE_INVALID 2'],
    ['it fails in general, now and then', 'answer C_Encrypt CKR_GENERAL_ERROR 2'],
    ['decryptions fail in general, now and then', 'answer C_Decrypt CKR_GENERAL_ERROR 1'],
    ['the module crashes', 'crash C_Encrypt 2'],
  ] as const)('rewraps a page although %s', async (_, fault) => {
    const deks = randomDeks(600)
    const items = await sealedItems(provider, 1, deks)
    await module.set(fault)
    const { outcomes } = await provider.rewrap({ from: 1, to: 2, check: 'all', items })
    const sealed = outcomes.map((outcome, index) => {
      if (!outcome.ok) throw new Error(outcome.message)
      return { iv: outcome.iv, wrapped: outcome.wrapped, aad: items[index]!.aadTo }
    })
    await module.heal()
    expect(await provider.unwrap(2, sealed)).toEqual(deks.map(({ dek }) => dek))
    expect(provider.loaded()).toEqual([1, 2])
  })

  test('counts the codes and the reconnects', () => {
    const { byCode, reconnects } = provider.stats()
    expect(Object.keys(byCode)).toEqual(expect.arrayContaining(['6', '48', '144', '179']))
    expect(reconnects).toBeGreaterThan(3)
  })

  test('replaces a lane whose module hangs', async () => {
    const items = await sealedItems(provider, 1, randomDeks(50))
    await module.set('hang C_Encrypt 1')
    const { outcomes } = await provider.rewrap({ from: 1, to: 2, check: 'all', items })
    expect(outcomes.every(({ ok }) => ok)).toBe(true)
  })

  test('distinguishes a throttled decryption from a bad envelope in one batch', async () => {
    const items = await sealedItems(provider, 1, randomDeks(60))
    const page = items.map((item, index) =>
      index % 20 === 7 ? { ...item, wrapped: flip(item.wrapped, 40) } : item,
    )
    await module.set('answer C_Decrypt CKR_FUNCTION_FAILED 8')
    const { outcomes } = await provider.rewrap({ from: 1, to: 2, check: 'all', items: page })
    const refused = outcomes.flatMap(({ ok }, index) => (ok ? [] : [index]))
    expect(refused).toEqual([7, 27, 47])
  })

  test('reports no envelope as unreadable when the token fails for good', async () => {
    const items = await sealedItems(provider, 1, randomDeks(10))
    await module.set('answer C_Decrypt CKR_GENERAL_ERROR')
    const page = provider.rewrap({ from: 1, to: 2, check: 'all', items })
    await expect(page).rejects.toMatchObject({ code: 'hsm-away' })
    await module.heal()
    await provider.prove(1)
    await provider.prove(2)
  })

  test('fails all waiting jobs in time when it fails for good, not only those that had a turn', async () => {
    const items = await sealedItems(provider, 1, randomDeks(10))
    await module.set('answer crypt 5')
    const pages = Array.from({ length: 8 }, () =>
      provider.rewrap({ from: 1, to: 2, check: 'all', items }),
    )
    const proofs = [1, 2, 1, 2].map((version) => provider.prove(version))
    const begun = performance.now()
    const ends = await Promise.allSettled([...pages, ...proofs])
    // The patience of a page is 20 s; with a turn for each, one after the other, it took four times that.
    expect(performance.now() - begun).toBeLessThan(70_000)
    for (const end of ends) expect(end).toMatchObject({ reason: { code: 'hsm-away' } })
    expect(provider.stats().trouble).toMatchObject({
      message: expect.stringContaining('CKR_GENERAL_ERROR') as string,
    })
    await module.heal()
    await provider.prove(1)
    await provider.prove(2)
    expect(provider.stats().trouble).toBeNull()
  })

  test.each([6, 48, 50, 84, 145, 176, 179, 257])(
    'fails while it answers %i to every crypt call, and is used again afterwards',
    async (ckr) => {
      await module.set(`answer crypt ${ckr}`)
      await expect(provider.prove(1)).rejects.toMatchObject({
        code: expect.stringMatching(/^hsm-(away|failed)$/) as string,
      })
      await module.heal()
      await until(async () =>
        provider.prove(1).then(
          () => true,
          () => false,
        ),
      )
      await provider.prove(2)
      expect(provider.loaded()).toEqual([1, 2])
    },
  )

  test('gets no retry after an error that no retry fixes', async () => {
    const before = provider.stats()
    await module.set('answer C_EncryptInit CKR_MECHANISM_PARAM_INVALID 1')
    await expect(provider.wrap(1, randomDeks(1))).rejects.toMatchObject({
      code: 'hsm-failed',
      message: 'C_EncryptInit answered CKR_MECHANISM_PARAM_INVALID (113)',
    })
    expect(provider.stats().reconnects).toBe(before.reconnects)
  })

  test('reports a key that may not encrypt', async () => {
    await module.set('answer C_EncryptInit CKR_KEY_FUNCTION_NOT_PERMITTED')
    await expect(provider.load(v2)).rejects.toMatchObject({ code: 'cannot-encrypt' })
    expect(provider.loaded()).toEqual([1])
    await module.heal()
    await provider.load(v2)
  })

  test('is reported away in time, and is used again when it is back', async () => {
    const items = await sealedItems(provider, 1, randomDeks(300))
    await module.set(
      'answer C_Encrypt CKR_DEVICE_REMOVED',
      'answer C_OpenSession CKR_TOKEN_NOT_PRESENT',
    )
    const page = provider.rewrap({ from: 1, to: 2, check: 'all', items })
    await expect(provider.prove(1)).rejects.toMatchObject({ code: 'hsm-away' })
    await module.heal()
    expect((await page).outcomes.every(({ ok }) => ok)).toBe(true)
    await provider.prove(1)
    expect(provider.loaded()).toEqual([1, 2])
  })

  test.each([5, 6, 84, 2, 7, 113, 0x8000_0005])(
    'whose client library answers %i until a new process loads it is used again',
    async (ckr) => {
      const items = await sealedItems(provider, 1, randomDeks(20))
      const logins = await module.logins(0)
      await module.set(`dead ${ckr}`)
      const rewrap = () => provider.rewrap({ from: 1, to: 2, check: 'all', items })
      // One page may fail for it, and the proof of a key; no process of the library that was alive then stays.
      await rewrap().catch(() => undefined)
      for (const kek of [v1, v2]) {
        await until(async () =>
          provider.load(kek).then(
            () => true,
            () => false,
          ),
        )
      }
      expect((await rewrap()).outcomes.every(({ ok }) => ok)).toBe(true)
      expect(provider.loaded()).toEqual([1, 2])
      expect(await module.logins(0)).toBeGreaterThan(logins)
      expect(await module.logins(160)).toBe(0)
    },
  )

  test('gets more sessions than there are cores when its calls are slow', async () => {
    const items = await sealedItems(provider, 1, randomDeks(60))
    await module.set('latency crypt 10')
    const rewrap = async (): Promise<number> => {
      const start = performance.now()
      await provider.rewrap({ from: 1, to: 2, check: 'all', items })
      return performance.now() - start
    }
    await until(async () => {
      await rewrap()
      return provider.stats().sessions === fixture.config.maxSessions
    })
    expect(provider.pool.pids).toHaveLength(2)
    const oneSession = 60 * 3 * 10
    // On a busy machine some pages take longer.
    await until(async () => (await rewrap()) < oneSession / 1.5)
  })

  test('gets one login with a wrong PIN from any number of jobs and lanes', async () => {
    const wrong = { install, config: fixture.config, pin: '00000000', log: silentLog, cores: 2 }
    const before = await module.logins(160)
    const tries = Array.from({ length: 4 }, () => openPkcs11Provider(wrong))
    const ends = await Promise.allSettled(tries)
    for (const end of ends) expect(end).toMatchObject({ reason: { code: 'pin-refused' } })
    await expect(openPkcs11Provider(wrong)).rejects.toMatchObject({ code: 'pin-refused' })
    await expect(probeToken(wrong)).rejects.toMatchObject({ code: 'pin-refused' })
    expect(await module.logins(160)).toBe(before + 1)
    expect(JSON.stringify(ends)).not.toContain('00000000')
  })

  test('whose PIN was changed while it was away fails all jobs after one login', async () => {
    const other = await fixture.open({ modulePath: module.path, keyLabelPrefix: 'fixture' })
    await other.load(v1)
    const config = { ...fixture.config }
    const changed = { install, config, pin: `${fixture.token.pin}9`, log: silentLog, cores: 2 }
    // Stands for the change: the very next login of anybody is refused.
    await module.set('answer C_Encrypt CKR_DEVICE_REMOVED 1', 'answer C_Login CKR_PIN_INCORRECT')
    const before = await module.logins(160)
    await expect(other.wrap(1, randomDeks(3))).rejects.toMatchObject({ code: 'pin-refused' })
    await expect(other.prove(1)).rejects.toMatchObject({ code: 'pin-refused' })
    await expect(other.wrap(1, randomDeks(3))).rejects.toMatchObject({ code: 'pin-refused' })
    expect(await module.logins(160)).toBe(before + 1)
    await other.close()
    // Another PIN in the configuration is another matter.
    await expect(openPkcs11Provider(changed)).rejects.toMatchObject({ code: 'pin-refused' })
    expect(await module.logins(160)).toBe(before + 2)
  })
})
