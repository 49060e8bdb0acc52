import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest'
import type { KekDescriptor } from '../../contracts/kek.ts'
import { silentLog } from '../../observability/log.ts'
import type { Pkcs11Provider } from '../../providers/pkcs11/pkcs11-provider.ts'
import { LanePool } from '../../providers/pkcs11/pool/pool.ts'
import { probeFailure } from '../../providers/pkcs11/probe/failure.ts'
import { probeToken } from '../../providers/pkcs11/probe/probe.ts'
import { canBuildFaultHsm, type FaultHsm } from '../fault-hsm/fault-hsm.ts'
import {
  faultFixture,
  flip,
  isAlive,
  randomDeks,
  sealedItems,
  until,
  type Pkcs11Fixture,
} from './fixture.ts'

const there = inject('softhsm') !== null && (await canBuildFaultHsm())

describe.skipIf(!there)('the pool of a token', () => {
  let fixture: Pkcs11Fixture & { fault: FaultHsm }
  let fault: FaultHsm
  let provider: Pkcs11Provider
  let v1: KekDescriptor
  let v2: KekDescriptor

  beforeAll(async () => {
    fixture = await faultFixture()
    fault = fixture.fault
    provider = await fixture.open()
    v1 = await fixture.make(provider, 1)
    v2 = await fixture.make(provider, 2)
    await provider.load(v1)
    await provider.load(v2)
  })
  afterEach(async () => {
    await fault.heal()
  })
  afterAll(async () => {
    await provider.close()
    await fixture.close()
  })

  const opened = async (): Promise<Pkcs11Provider> => {
    const other = await fixture.open()
    await other.load(v1)
    await other.load(v2)
    return other
  }
  const page = (items: Awaited<ReturnType<typeof sealedItems>>) =>
    ({ from: 1, to: 2, check: 'all', items }) as const
  const probe = () => probeToken({ config: fixture.config, pin: fixture.token.pin })

  test.each([
    ['throttles by the second', 'throttle 100', 100],
    ['takes one call at a time', 'busy 1', 200],
  ])(
    're-wraps a page on a token that %s, and reports only the bad envelopes',
    async (_, line, count) => {
      const items = await sealedItems(provider, 1, randomDeks(count))
      const broken = items.map((item, index) =>
        index === 11 ? { ...item, wrapped: flip(item.wrapped) } : item,
      )
      const before = provider.stats().byCode['6'] ?? 0
      // Slow enough for several lanes, so that they are too many.
      await fault.set(line, 'latency crypt 1')
      const { outcomes } = await provider.rewrap(page(broken))
      expect(outcomes.flatMap(({ ok }, index) => (ok ? [] : [index]))).toEqual([11])
      expect(provider.stats().byCode['6'] ?? 0).toBeGreaterThan(before)
      expect(provider.loaded()).toEqual([1, 2])
    },
  )

  test('lets fewer lanes work after throttling, and all of them again later', async () => {
    const other = await opened()
    const items = await sealedItems(other, 1, randomDeks(200))
    await fault.set('latency crypt 1')
    await until(async () => {
      await other.rewrap(page(items))
      return other.stats().sessions === fixture.config.maxSessions
    })
    // On a busy machine they may be all back before the test has looked.
    await until(async () => {
      await fault.set('latency crypt 1', 'answer C_Encrypt CKR_FUNCTION_FAILED 3')
      let fewest = Infinity
      const look = setInterval(() => (fewest = Math.min(fewest, other.pool.lanes)), 1)
      await other.rewrap(page(items)).finally(() => clearInterval(look))
      return Math.min(fewest, other.pool.lanes) < fixture.config.maxSessions
    })
    await until(async () => {
      await other.rewrap(page(items))
      return other.pool.lanes === fixture.config.maxSessions
    })
    await other.close()
  })

  test('opens one session less than the token has, and works with fewer', async () => {
    await fault.set('sessions 8', 'latency crypt 2')
    const other = await opened()
    const items = await sealedItems(other, 1, randomDeks(60))
    await until(async () => {
      await other.rewrap(page(items))
      const { openSessions } = await fault.counters()
      return openSessions >= 7
    })
    const { outcomes } = await other.rewrap(page(items))
    expect(outcomes.every(({ ok }) => ok)).toBe(true)
    expect((await fault.counters()).openSessions).toBeLessThanOrEqual(8)
    await other.close()
  })

  test.each(['sessions dropped', 'handles stale'])('finishes a page after "%s"', async (line) => {
    const items = await sealedItems(provider, 1, randomDeks(1_500))
    const running = provider.rewrap(page(items))
    const { calls } = provider.stats()
    await until(() => provider.stats().calls > calls)
    await fault.set(line)
    const { outcomes } = await running
    expect(outcomes.every(({ ok }) => ok)).toBe(true)
    await provider.prove(1)
  })

  test('continues when the device is removed and put back', async () => {
    const items = await sealedItems(provider, 1, randomDeks(300))
    await fault.set('device removed')
    const running = provider.rewrap(page(items))
    await expect(provider.prove(1)).rejects.toMatchObject({ code: 'hsm-away' })
    await fault.heal()
    expect((await running).outcomes.every(({ ok }) => ok)).toBe(true)
  })

  test('never returns a wrap that does not open', async () => {
    const deks = randomDeks(20)
    const items = await sealedItems(provider, 1, deks)
    await fault.set('corrupt C_Encrypt 2')
    const { outcomes } = await provider.rewrap(page(items))
    const sealed = outcomes.map((outcome, index) => {
      if (!outcome.ok) throw new Error(outcome.message)
      return { iv: outcome.iv, wrapped: outcome.wrapped, aad: items[index]!.aadTo }
    })
    expect(await provider.unwrap(2, sealed)).toEqual(deks.map(({ dek }) => dek))
  })

  test('fails jobs with hsm-busy when the queue is full or they wait too long', async () => {
    const options = { config: fixture.config, pin: fixture.token.pin, log: silentLog, cores: 1 }
    const pool = await LanePool.open({ ...options, mostWaiting: 2 })
    await fault.set('latency C_FindObjectsInit 1000')
    const find = (waitMs: number) =>
      pool.run({ op: 'find', label: 'missing', keyId: null }, { waitMs })
    const ends = await Promise.allSettled([find(60_000), find(60_000), find(50), find(60_000)])
    expect(ends).toMatchObject([
      { reason: { code: 'key-not-found' } },
      { reason: { code: 'key-not-found' } },
      { reason: { code: 'hsm-busy', message: 'no session was free within 0.05 s' } },
      { reason: { code: 'hsm-busy', message: '2 batches wait for the HSM already' } },
    ])
    expect(pool.waiting).toBe(0)
    await pool.close()
  })

  test.each(['hang C_Encrypt', 'hang C_CloseSession', 'hang C_Finalize', 'crash C_Finalize'])(
    'closes in time and leaves no child although the module does "%s"',
    async (line) => {
      const other = await opened()
      const { pids } = other.pool
      await fault.set(line)
      const wraps = other.wrap(1, randomDeks(2)).then(
        () => 'wrapped',
        (error: unknown) => error,
      )
      if (!line.endsWith('C_Encrypt')) expect(await wraps).toBe('wrapped')
      const start = performance.now()
      await other.close()
      expect(performance.now() - start).toBeLessThan(20_000)
      for (const pid of pids) expect(await isAlive(pid)).toBe(false)
      if (line.endsWith('C_Encrypt')) expect(await wraps).toMatchObject({ code: 'pool-closed' })
    },
  )

  test.each(['pin locked', 'pin final-try'])('does not log in with "%s"', async (line) => {
    const before = (await fault.counters()).calls['C_Login'] ?? 0
    await fault.set(line)
    await expect(fixture.open()).rejects.toMatchObject({ code: 'pin-locked' })
    expect((await fault.counters()).calls['C_Login'] ?? 0).toBe(before)
  })

  test('treats one token in 32 slots as one token, but not when the serials differ', async () => {
    await fault.set('slots 32')
    await (await fixture.open()).close()
    await fault.set('slots 32 distinct')
    await expect(fixture.open()).rejects.toMatchObject({ code: 'token-ambiguous' })
  })

  test('refuses a module without AES-GCM and names the mechanism', async () => {
    await fault.set('without 0x1087')
    const report = await probe()
    expect(report).toMatchObject({ usable: false, gcm: null })
    expect(probeFailure(report)).toMatchObject({
      code: 'mechanism-missing',
      message: 'HSM does not support CKM_AES_GCM',
    })
  })

  test('refuses a token that repeats its IV', async () => {
    await fault.set('iv hsm-repeats')
    const report = await probe()
    expect(report.usable).toBe(false)
    expect(probeFailure(report)).toMatchObject({
      code: 'token-not-usable',
      message: expect.stringContaining('two wraps got the same IV') as string,
    })
  })

  test.each([
    ['CKA_EXTRACTABLE=false', 'attribute 0x162 01'],
    ['CKA_SENSITIVE=true', 'attribute 0x103 00'],
    ['CKA_VALUE_LEN=32', 'attribute 0x161 1000000000000000'],
    ['CKA_ENCRYPT=true', 'attribute 0x104 none'],
  ])('refuses a key that is not %s', async (name, line) => {
    await fault.set(line)
    await expect(provider.ceremony.find(v1.label, null)).rejects.toMatchObject({
      code: 'key-attributes',
      message: `key "${v1.label}" is not ${name}`,
    })
    expect(await probe()).toMatchObject({ usable: false })
  })

  test('distinguishes a token that was switched to FIPS mode from a broken one', async () => {
    await fault.set('iv suffix 16')
    const other = await fixture.open()
    await expect(other.load(v1)).rejects.toMatchObject({
      code: 'cannot-encrypt',
      message: `key "${v1.label}" was installed with IV mode "caller", and the token does "output-suffix" now`,
      hint: expect.stringContaining('FIPS mode') as string,
    })
    await fault.set('answer C_EncryptInit CKR_MECHANISM_PARAM_INVALID')
    await expect(other.load(v1)).rejects.toMatchObject({
      code: 'cannot-encrypt',
      message: `key "${v1.label}" cannot encrypt: C_EncryptInit answered CKR_MECHANISM_PARAM_INVALID (113)`,
    })
    await other.close()
  })

  test('uses the IV mode that is forced, and refuses a token that has another', async () => {
    const inMode = (useGcmIvFromHsm: boolean) =>
      probeToken({ config: { ...fixture.config, useGcmIvFromHsm }, pin: fixture.token.pin })
    await fault.set('iv hsm-writes', 'sessions 9')
    expect(await inMode(true)).toMatchObject({
      usable: true,
      gcm: { ivMode: 'hsm-writes-iv', ivLength: 12 },
      sessions: { max: 9 },
    })
    const refused = await inMode(false)
    expect(probeFailure(refused)).toMatchObject({ code: 'iv-mode-refused' })
    expect(refused).toMatchObject({ usable: false, gcm: null })
    await fault.heal()
    const other = await fixture.open({ useGcmIvFromHsm: true })
    await expect(other.load(v1)).rejects.toMatchObject({
      code: 'iv-mode-refused',
      message: expect.stringMatching(/^version 1 was installed with IV mode "caller"/) as string,
    })
    expect(other.loaded()).toEqual([])
    await other.close()
  })
})
