import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { probeFailure } from '../../providers/pkcs11/probe/failure.ts'
import { probeToken } from '../../providers/pkcs11/probe/probe.ts'
import { canBuildFaultHsm } from '../fault-hsm/fault-hsm.ts'
import { faultFixture, randomDeks, type Pkcs11Fixture } from './fixture.ts'

const there = inject('softhsm') !== null && (await canBuildFaultHsm())

const ways = [
  ['hsm-writes-iv', 'iv hsm-writes 12 apart'],
  ...(['prefix', 'suffix'] as const).flatMap((place) =>
    [12, 16].flatMap((length) =>
      ['apart', 'joined'].map(
        (form) => [`output-${place}`, `iv ${place} ${length} ${form}`] as const,
      ),
    ),
  ),
] as const
/** Whether the token lets a probe have a key whose value is known. */
const keys = ['', 'keys sensitive'] as const
const all = ways.flatMap(([mode, line]) => keys.map((key) => ({ mode, line, key })))
/** One length for each place: enough where the length makes no difference. */
const cases = all.filter(({ line }) => !/prefix 16|suffix 12/.test(line))

describe.skipIf(!there)('the IV mode that a probe finds', () => {
  let fixture: Awaited<ReturnType<typeof faultFixture>>
  beforeAll(async () => {
    fixture = await faultFixture()
  })
  afterAll(() => fixture.close())

  const probe = (config: Pkcs11Fixture['config'] = fixture.config) =>
    probeToken({ config, pin: fixture.token.pin })
  const ivLength = (line: string): number => Number(/ (12|16)/.exec(line)?.[1])

  test.each(cases)('is $mode with "$line counting" and "$key"', async ({ mode, line, key }) => {
    await fixture.fault.set(`${line} counting`, key)
    const report = await probe()
    expect(report).toMatchObject({ usable: true, warnings: [] })
    expect(report.gcm).toMatchObject({ ivMode: mode, ivLength: ivLength(line) })
    expect(report.phases[2]?.detail).toMatch(/; 10\d\d wraps, as many IVs$/)
  })

  test.each(all)('is $mode with "$line random" and "$key"', async ({ mode, line, key }) => {
    await fixture.fault.set(`${line} random`, key)
    const report = await probe()
    expect(report.usable).toBe(true)
    expect(report.gcm?.ivLength).toBe(ivLength(line))
    // Two random ends look alike: without a known key, and if the token opens both in one piece, they cannot be distinguished.
    const isOpen = key !== '' && line.includes('joined')
    if (isOpen) expect(report.warnings).toEqual([expect.stringMatching(/^nothing shows whether/)])
    else expect(report).toMatchObject({ gcm: { ivMode: mode }, warnings: [] })
  })

  test.each(cases)('is refused with "$line fixed" and "$key"', async ({ line, key }) => {
    await fixture.fault.set(`${line} fixed`, key)
    const report = await probe()
    expect(report).toMatchObject({ usable: false, gcm: null })
    expect(probeFailure(report)).toMatchObject({
      code: 'token-not-usable',
      message: expect.stringContaining('two wraps got the same IV') as string,
    })
  })

  test.each(keys)(
    'is refused when the token accepts the caller’s IV and uses its own (%s)',
    async (key) => {
      await fixture.fault.set('iv ignored', key)
      expect(probeFailure(await probe())).toMatchObject({ code: 'token-not-usable' })
    },
  )

  test('is refused when IVs repeat within the 1,000 wraps', async () => {
    await fixture.fault.set('iv prefix 12 apart every-300')
    expect(probeFailure(await probe())).toMatchObject({
      code: 'token-not-usable',
      message: expect.stringMatching(/^the token used an IV twice: \d{3} wraps had 300/) as string,
      hint: expect.stringContaining('a repeated IV breaks AES-GCM') as string,
    })
  })

  test('is reported as a broken token, not as a wrong setting, when a forced mode repeats its IV', async () => {
    await fixture.fault.set('iv hsm-writes 12 apart fixed')
    const report = await probe({ ...fixture.config, useGcmIvFromHsm: true })
    expect(probeFailure(report)).toMatchObject({ code: 'token-not-usable' })
  })

  test.each(cases)(
    'is used to install, load and use keys with "$line" and "$key"',
    async ({ line, key }) => {
      await fixture.fault.set(`${line} random`, key)
      const provider = await fixture.open({
        keyLabelPrefix: `fixture-${randomBytes(4).toString('hex')}`,
      })
      try {
        const kek = await fixture.make(provider, 1)
        await provider.load(kek)
        const deks = randomDeks(20)
        const wraps = await provider.wrap(1, deks)
        const sealed = wraps.map((wrap, index) => ({ ...wrap, aad: deks[index]!.aad }))
        expect(await provider.unwrap(1, sealed)).toEqual(deks.map(({ dek }) => dek))
        await provider.prove(1)
      } finally {
        await provider.close()
      }
    },
  )
})
