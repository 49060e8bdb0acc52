import { describe, expect, inject, test } from 'vitest'
import type { Pkcs11Config } from '../../contracts/settings.ts'
import { probeToken } from '../../providers/pkcs11/probe/probe.ts'
import { makeKryopticTokens } from '../support/kryoptic.ts'
import { baseConfig, p11KitFixture } from './fixture.ts'

const callerMode = { gcm: { ivMode: 'caller', ivLength: 12, tagBits: 128 }, usable: true }

describe.skipIf(inject('kryoptic') === null)('Kryoptic', () => {
  test('passes the probe, and reports each missing part in one line', async () => {
    const { modulePath, moduleParameters, labels, pin, remove } = await makeKryopticTokens()
    const config: Pkcs11Config = { ...baseConfig, modulePath, token: { label: labels[0] } }
    const probe = (change: Partial<Pkcs11Config>) =>
      probeToken({ config: { ...config, ...change }, pin })
    expect(await probe({ moduleParameters })).toMatchObject({
      ...callerMode,
      vendor: { name: 'Kryoptic', support: 'run' },
      token: { manufacturer: 'Kryoptic Project' },
      tamper: { tag: 64, aad: 64, iv: 64 },
    })
    const needsConfiguration = expect.stringMatching(/^Kryoptic needs its configuration/) as string
    await expect(probe({})).rejects.toMatchObject({
      code: 'hsm-away',
      message: 'C_Initialize answered CKR_TOKEN_NOT_PRESENT (224)',
      hint: needsConfiguration,
    })
    await remove()
    await expect(probe({ moduleParameters })).rejects.toMatchObject({
      code: 'hsm-failed',
      message: 'C_Initialize answered CKR_GENERAL_ERROR (5)',
      hint: needsConfiguration,
    })
  })
})

describe.skipIf(inject('softhsm') === null || inject('p11KitProxy') === null)(
  'p11-kit’s proxy over SoftHSM2',
  () => {
    test('passes the probe as SoftHSM2, and names a configuration that shows no token', async () => {
      const fixture = await p11KitFixture()
      const { config, token } = fixture
      expect(await probeToken({ config, pin: token.pin })).toMatchObject({
        ...callerMode,
        vendor: { name: 'SoftHSM2' },
        tamper: { tag: 5, aad: 5, iv: 5 },
      })
      const environment = { SOFTHSM2_CONF: '/nowhere' }
      const unconfigured = probeToken({ config: { ...config, environment }, pin: token.pin })
      await expect(unconfigured).rejects.toMatchObject({
        code: 'token-not-found',
        hint: expect.stringContaining('p11-kit list-modules') as string,
      })
      await fixture.close()
    })
  },
)
