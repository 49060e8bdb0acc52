import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest'
import { canBuildFaultHsm } from '../fault-hsm/fault-hsm.ts'
import { faultLab } from './lab.ts'

const there = inject('softhsm') !== null && (await canBuildFaultHsm())

describe.skipIf(!there)('a token as it is in the field', () => {
  let lab: Awaited<ReturnType<typeof faultLab>>
  beforeAll(async () => {
    lab = await faultLab()
  })
  afterEach(() => lab.fault.heal())
  afterAll(() => lab.close())

  it.each([225, 224, 48, 5, 3, 6, 84, 257, 0x8000_0001])(
    'is found beside a slot that answers %i',
    async (ckr) => {
      await lab.fault.set(`foreign ${ckr}`, `foreign ${ckr}`)
      await (await lab.open()).close()
    },
  )

  it('names slots that do not answer when it is not there', async () => {
    await lab.fault.set('foreign 225')
    await expect(lab.open({ token: { label: 'elsewhere' } })).rejects.toMatchObject({
      code: 'token-not-found',
      message: 'no token with label "elsewhere"',
      hint: expect.stringMatching(
        /^there are: .*; no answer from slot 9000: C_GetTokenInfo answered CKR_TOKEN_NOT_RECOGNIZED \(225\)$/,
      ) as string,
    })
  })

  it('is found by all that a URI says of it', async () => {
    const { label } = lab.token
    await (await lab.open({ token: { label, manufacturer: 'SoftHSM project' } })).close()
    await expect(lab.open({ token: { label, model: 'another' } })).rejects.toMatchObject({
      message: `no token with label "${label}", model "another"`,
    })
  })

  it('whose users are a vendor’s is logged in to as the user that is configured, and no other', async () => {
    await lab.fault.set('user 0x80000001')
    const before = (await lab.fault.log()).length
    await (await lab.open({ userType: 'crypto-user' })).close()
    await lab.fault.set('user 0x80000001')
    await expect(lab.open()).rejects.toMatchObject({
      code: 'pin-refused',
      message: 'C_Login answered CKR_USER_TYPE_INVALID (259)',
      hint: 'the token has no such user: look at kek.pkcs11.user_type',
    })
    const logins = (await lab.fault.log()).slice(before).filter((c) => c.function === 'C_Login')
    expect(logins.map(({ user, ckr }) => [user, ckr])).toEqual([
      [0x8000_0001, 0],
      [1, 259],
    ])
  })
})
