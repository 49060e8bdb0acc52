import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest'
import { canBuildFaultHsm } from '../fault-hsm/fault-hsm.ts'
import { faultFixture } from './fixture.ts'

const there = inject('softhsm') !== null && (await canBuildFaultHsm())

describe.skipIf(!there)('a token with quirks of real devices', () => {
  let fixture: Awaited<ReturnType<typeof faultFixture>>
  beforeAll(async () => {
    fixture = await faultFixture()
  })
  afterEach(() => fixture.fault.heal())
  afterAll(() => fixture.close())

  test.each([225, 224, 48, 5, 3, 6, 84, 257, 0x8000_0001])(
    'is found although another slot answers %i',
    async (ckr) => {
      await fixture.fault.set(`foreign ${ckr}`, `foreign ${ckr}`)
      await (await fixture.open()).close()
    },
  )

  test('is found without a call to another slot except C_GetTokenInfo', async () => {
    await fixture.fault.set('foreign 225', 'foreign 5')
    const before = (await fixture.fault.log()).length
    const provider = await fixture.open()
    await fixture.make(provider, 1)
    await provider.close()
    const foreign = (await fixture.fault.log()).slice(before).filter(({ user }) => user >= 9_000)
    expect(new Set(foreign.map((call) => `${call.function} of ${call.user}`))).toEqual(
      new Set(['C_GetTokenInfo of 9000', 'C_GetTokenInfo of 9001']),
    )
  })

  test('that is missing is reported with the slots that do not answer', async () => {
    await fixture.fault.set('foreign 225')
    await expect(fixture.open({ token: { label: 'elsewhere' } })).rejects.toMatchObject({
      code: 'token-not-found',
      message: 'no token with label "elsewhere"',
      hint: expect.stringMatching(
        /^there are: .*; no answer from slot 9000: C_GetTokenInfo answered CKR_TOKEN_NOT_RECOGNIZED \(225\)$/,
      ) as string,
    })
  })

  test('is found by every attribute in a URI', async () => {
    const { label } = fixture.token
    await (await fixture.open({ token: { label, manufacturer: 'SoftHSM project' } })).close()
    await expect(fixture.open({ token: { label, model: 'another' } })).rejects.toMatchObject({
      message: `no token with label "${label}", model "another"`,
    })
  })

  test('with vendor-defined user types accepts only the configured one', async () => {
    await fixture.fault.set('user 0x80000001')
    const before = (await fixture.fault.log()).length
    await (await fixture.open({ userType: 'crypto-user' })).close()
    await fixture.fault.set('user 0x80000001')
    await expect(fixture.open()).rejects.toMatchObject({
      code: 'pin-refused',
      message: 'C_Login answered CKR_USER_TYPE_INVALID (259)',
      hint: 'the token has no user of this type: look at kek.pkcs11.user_type',
    })
    const logins = (await fixture.fault.log()).slice(before).filter((c) => c.function === 'C_Login')
    expect(logins.map(({ user, ckr }) => [user, ckr])).toEqual([
      [0x8000_0001, 0],
      [1, 259],
    ])
  })
})
