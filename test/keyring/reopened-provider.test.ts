import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest'
import { openReopening, type ReopenedProvider } from '../../keyring/reopened-provider.ts'
import { silentLog } from '../../observability/log.ts'
import { openPkcs11Provider } from '../../providers/pkcs11/pkcs11-provider.ts'
import { canBuildFaultHsm } from '../fault-hsm/fault-hsm.ts'
import { faultLab, initToken, install, randomDeks, until } from '../providers/lab.ts'
import { freshName } from '../support/fresh.ts'

const there = inject('softhsm') !== null && (await canBuildFaultHsm())

describe.skipIf(!there)('a key store that comes, goes and changes its PIN', () => {
  let lab: Awaited<ReturnType<typeof faultLab>>
  let pin: string
  let label: string
  let store: ReopenedProvider | undefined
  beforeAll(async () => {
    lab = await faultLab()
  })
  afterEach(async () => {
    await store?.close()
    await lab.fault.heal()
  })
  afterAll(() => lab.close())

  const open = async (): Promise<ReopenedProvider> => {
    store = await openReopening({
      name: 'pkcs11',
      log: silentLog,
      open: () => {
        const config = { ...lab.config, token: { label } }
        return openPkcs11Provider({ install, config, pin, log: silentLog, cores: 1 })
      },
    })
    return store
  }

  test('a token that is made later is found by itself', async () => {
    label = freshName('later')
    pin = lab.token.pin
    const provider = await open()
    let opened = 0
    provider.onOpened(() => (opened += 1))
    expect(provider.trouble()).toMatchObject({ code: 'token-not-found' })
    await expect(provider.prove(1)).rejects.toMatchObject({ code: 'token-not-found' })
    await initToken(lab.token, label)
    await until(() => provider.trouble() === null)
    expect(opened).toBe(1)
    const kek = await lab.make(provider, 1)
    await provider.load(kek)
    expect(provider.loaded()).toEqual([1])
  })

  test('a refused PIN is final until somebody says so, and then costs one try', async () => {
    label = lab.token.label
    pin = '00000000'
    const provider = await open()
    expect(provider.trouble()).toMatchObject({ code: 'pin-refused' })
    const refused = await lab.fault.logins(160)
    expect(await provider.renew()).toMatchObject({ code: 'pin-refused' })
    // The same PIN: the gate lets nobody try it again.
    expect(await lab.fault.logins(160)).toBe(refused)
    pin = '11111111'
    expect(await provider.renew()).toMatchObject({ code: 'pin-refused' })
    expect(await lab.fault.logins(160)).toBe(refused + 1)
    pin = lab.token.pin
    expect(await provider.renew()).toBeNull()
    expect(provider.trouble()).toBeNull()
    expect(await lab.fault.logins(160)).toBe(refused + 1)
  })

  test('a new PIN is taken up with the keys, and a wrong one leaves the old session in use', async () => {
    label = lab.token.label
    pin = lab.token.pin
    const provider = await open()
    await provider.load(await lab.make(provider, 1))
    pin = '22222222'
    expect(await provider.renew()).toMatchObject({ code: 'pin-refused' })
    expect(provider.trouble()).toBeNull()
    expect(await provider.wrap(1, randomDeks(1))).toHaveLength(1)
    pin = lab.token.pin
    const logins = await lab.fault.logins(0)
    expect(await provider.renew()).toBeNull()
    expect(await lab.fault.logins(0)).toBe(logins + 1)
    expect(provider.loaded()).toEqual([1])
    expect(await provider.wrap(1, randomDeks(1))).toHaveLength(1)
  })
})
