import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest'
import { openReopening, type ReopenedProvider } from '../../keyring/reopened-provider.ts'
import { silentLog } from '../../observability/log.ts'
import { openPkcs11Provider } from '../../providers/pkcs11/pkcs11-provider.ts'
import { canBuildFaultHsm } from '../fault-hsm/fault-hsm.ts'
import { faultFixture, initToken, install, randomDeks, until } from '../providers/fixture.ts'
import { freshName } from '../support/fresh.ts'

const there = inject('softhsm') !== null && (await canBuildFaultHsm())

describe.skipIf(!there)('a key store that comes, goes and changes its PIN', () => {
  let fixture: Awaited<ReturnType<typeof faultFixture>>
  let pin: string
  let label: string
  let store: ReopenedProvider | undefined
  beforeAll(async () => {
    fixture = await faultFixture()
  })
  afterEach(async () => {
    await store?.close()
    await fixture.fault.heal()
  })
  afterAll(() => fixture.close())

  const open = async (pinNow?: () => string | null): Promise<ReopenedProvider> => {
    store = await openReopening({
      name: 'pkcs11',
      log: silentLog,
      ...(pinNow === undefined ? {} : { pinNow }),
      open: () => {
        const config = { ...fixture.config, token: { label } }
        return openPkcs11Provider({ install, config, pin, log: silentLog, cores: 1 })
      },
    })
    return store
  }

  test('a token that is made later is found without a restart', async () => {
    label = freshName('later')
    pin = fixture.token.pin
    const provider = await open()
    let opened = 0
    provider.onOpened(() => (opened += 1))
    expect(provider.trouble()).toMatchObject({ code: 'token-not-found' })
    await expect(provider.prove(1)).rejects.toMatchObject({ code: 'token-not-found' })
    await initToken(fixture.token, label)
    await until(() => provider.trouble() === null)
    expect(opened).toBe(1)
    const kek = await fixture.make(provider, 1)
    await provider.load(kek)
    expect(provider.loaded()).toEqual([1])
  })

  test('a refused PIN is not tried again until a reload, which costs one try', async () => {
    label = fixture.token.label
    pin = '00000000'
    const provider = await open()
    expect(provider.trouble()).toMatchObject({ code: 'pin-refused' })
    const refused = await fixture.fault.logins(160)
    expect(await provider.renew()).toMatchObject({ code: 'pin-refused' })
    // The same PIN: the login gate does not try it again.
    expect(await fixture.fault.logins(160)).toBe(refused)
    pin = '11111111'
    expect(await provider.renew()).toMatchObject({ code: 'pin-refused' })
    expect(await fixture.fault.logins(160)).toBe(refused + 1)
    pin = fixture.token.pin
    expect(await provider.renew()).toBeNull()
    expect(provider.trouble()).toBeNull()
    expect(await fixture.fault.logins(160)).toBe(refused + 1)
  })

  test('a refused PIN is tried once, however often its file is read, and so is the next one', async () => {
    label = fixture.token.label
    pin = '33333333'
    let looks = 0
    const look = () => {
      looks += 1
      return looks % 2 === 0 ? pin : null
    }
    const refused = await fixture.fault.logins(160)
    const provider = await open(look)
    expect(provider.trouble()).toMatchObject({ code: 'pin-refused' })
    await until(() => looks >= 3)
    expect(await fixture.fault.logins(160)).toBe(refused + 1)
    pin = fixture.token.pin
    await until(() => provider.trouble() === null)
    expect(await fixture.fault.logins(160)).toBe(refused + 1)
  })

  test('a new PIN opens a session with all keys, and a wrong one leaves the old session in use', async () => {
    label = fixture.token.label
    pin = fixture.token.pin
    const provider = await open()
    await provider.load(await fixture.make(provider, 1))
    pin = '22222222'
    expect(await provider.renew()).toMatchObject({ code: 'pin-refused' })
    expect(provider.trouble()).toBeNull()
    expect(await provider.wrap(1, randomDeks(1))).toHaveLength(1)
    pin = fixture.token.pin
    const logins = await fixture.fault.logins(0)
    expect(await provider.renew()).toBeNull()
    expect(await fixture.fault.logins(0)).toBe(logins + 1)
    expect(provider.loaded()).toEqual([1])
    expect(await provider.wrap(1, randomDeks(1))).toHaveLength(1)
  })
})
