import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { Pkcs11Config } from '../../contracts/settings.ts'
import { silentLog } from '../../observability/log.ts'
import { openPkcs11Provider } from '../../providers/pkcs11/pkcs11-provider.ts'
import { probeToken } from '../../providers/pkcs11/probe/probe.ts'
import { makeNssToken, type NssToken } from '../support/nss.ts'

describe.skipIf(inject('nss') === null)('NSS softokn, by kek.pkcs11.module_parameters', () => {
  let token: NssToken
  let config: Pkcs11Config

  beforeAll(async () => {
    token = await makeNssToken()
    config = {
      modulePath: token.modulePath,
      moduleParameters: token.moduleParameters,
      token: { label: token.label },
      pinEnv: 'NSS_PIN',
      keyLabelPrefix: 'nss',
      maxSessions: 2,
      useGcmIvFromHsm: 'auto',
    }
  })
  afterAll(() => token.remove())

  test('passes the probe with its own codes for altered ciphertexts', async () => {
    expect(await probeToken({ config, pin: token.pin })).toMatchObject({
      usable: true,
      vendor: { name: 'NSS softokn', support: 'run' },
      token: { manufacturer: 'Mozilla Foundation' },
      gcm: { ivMode: 'caller', ivLength: 12, tagBits: 128 },
      tamper: { tag: 64, aad: 64, iv: 64 },
    })
  })

  test('makes, finds, uses and destroys keys by exact label and id', async () => {
    const options = { install: 'fixture', config, pin: token.pin, log: silentLog, cores: 1 }
    const provider = await openPkcs11Provider(options)
    const { ceremony } = provider
    const keyId = randomBytes(16)
    await ceremony.generate('nss-v1', keyId)
    await expect(ceremony.generate('nss-v1', randomBytes(16))).rejects.toMatchObject({
      code: 'key-exists',
    })
    const gcm = await ceremony.gcmProfile()
    const canary = await ceremony.makeCanary(1, 'nss-v1', keyId, gcm)
    const kek = { version: 1, provider: 'pkcs11' as const, label: 'nss-v1', keyId, gcm, canary }
    await provider.load(kek)
    const dek = { dek: randomBytes(32), aad: randomBytes(32) }
    const [wrapped] = await provider.wrap(1, [dek])
    const [opened] = await provider.unwrap(1, [{ ...wrapped!, aad: dek.aad }])
    expect(opened).toEqual(dek.dek)
    await ceremony.destroy('nss-v1', randomBytes(16))
    expect(await ceremony.find('nss-v1', null)).toEqual({ keyId })
    await ceremony.destroy('nss-v1', keyId)
    await expect(ceremony.find('nss-v1', null)).rejects.toMatchObject({ code: 'key-not-found' })
    await provider.close()
  })

  test('reports each missing part in one line', async () => {
    const failing = (change: Partial<Pkcs11Config>) =>
      probeToken({ config: { ...config, ...change }, pin: token.pin })
    const { moduleParameters, ...without } = config
    expect(moduleParameters).toContain('configdir')
    await expect(probeToken({ config: without, pin: token.pin })).rejects.toMatchObject({
      code: 'hsm-failed',
      hint: expect.stringMatching(/^NSS needs kek.pkcs11.module_parameters/) as string,
    })
    const nowhere = failing({ moduleParameters: "configDir='sql:/nowhere/at/all'" })
    await expect(nowhere).rejects.toMatchObject({
      hint: expect.stringContaining('certutil -N') as string,
    })
    const noUser = failing({ token: { label: 'NSS Generic Crypto Services' } })
    await expect(noUser).rejects.toMatchObject({
      hint: expect.stringContaining('"NSS Certificate DB"') as string,
    })
  })
})
