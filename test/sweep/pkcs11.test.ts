import { randomBytes } from 'node:crypto'
import { afterEach, describe, expect, inject, test } from 'vitest'
import { createLog } from '../../observability/log.ts'
import { openPkcs11Provider } from '../../providers/pkcs11/pkcs11-provider.ts'
import type { KekProvider } from '../../providers/provider.ts'
import { scanUnwrap } from '../../sweep/scan-unwrap.ts'
import { makeToken, type TestToken } from '../support/softhsm.ts'
import { collection, field, names, openFixture, type Fixture } from './fixture.ts'

let fixture: Fixture | undefined
let token: TestToken | undefined
const ownConf = process.env['SOFTHSM2_CONF']

afterEach(async () => {
  await fixture?.close()
  await token?.remove()
  if (ownConf === undefined) delete process.env['SOFTHSM2_CONF']
  else process.env['SOFTHSM2_CONF'] = ownConf
})

async function softHsm(install: string): Promise<KekProvider> {
  token = await makeToken()
  process.env['SOFTHSM2_CONF'] = token.conf
  const provider = await openPkcs11Provider({
    install,
    config: {
      modulePath: token.modulePath,
      token: { label: token.label },
      pinEnv: '',
      keyLabelPrefix: 'fixture',
      maxSessions: 4,
      useGcmIvFromHsm: 'auto',
    },
    pin: token.pin,
    log: createLog({ level: 'silent', pretty: false }),
  })
  const gcm = await provider.ceremony.gcmProfile()
  for (const version of [1, 2]) {
    const label = provider.ceremony.labelOf(version)
    const keyId = randomBytes(16)
    await provider.ceremony.generate(label, keyId)
    const canary = await provider.ceremony.makeCanary(version, label, keyId, gcm)
    await provider.load({ version, provider: 'pkcs11', label, keyId, gcm, canary })
  }
  return provider
}

describe.skipIf(inject('softhsm') === null)('a sweep on SoftHSM2', () => {
  test('rewraps two ranges at once, quarantines what does not open, and all the rest opens', async () => {
    fixture = await openFixture({ provider: softHsm })
    await fixture.fill(names(800))
    const [stranger] = await fixture.seal(['elsewhere'])
    await fixture.insert([{ ...stranger, _id: 'r000400-moved' }])
    const ranges = await fixture.plan(2)
    const { sweep } = fixture
    const results = await Promise.all(ranges.map(({ range }) => sweep(range)))
    expect(results.map(({ end }) => end)).toEqual(['end', 'end'])
    expect(await fixture.counters()).toMatchObject({
      rewrapped: 800,
      superseded: 0,
      quarantined: 1,
    })
    const census = await scanUnwrap({
      store: fixture.store,
      provider: fixture.provider,
      install: fixture.install,
      collections: [{ name: collection, envelopes: [field] }],
      onProgress: () => undefined,
      signal: new AbortController().signal,
    })
    expect(census.opened).toBe(800)
    expect(census.failed).toMatchObject([{ id: 'r000400-moved', code: 'envelope-unreadable' }])
  })

  test('wraps and opens without AAD, as a layout of existing data may want it', async () => {
    fixture = await openFixture({ provider: softHsm })
    const dek = randomBytes(32)
    const aad = Buffer.alloc(0)
    const [wrap] = await fixture.provider.wrap(1, [{ dek: Buffer.from(dek), aad }])
    const { outcomes } = await fixture.provider.rewrap({
      from: 1,
      to: 2,
      check: 'all',
      items: [{ ...wrap!, aadFrom: aad, aadTo: aad }],
    })
    const [outcome] = outcomes
    if (outcome?.ok !== true) throw new Error('it does not open')
    const { iv, wrapped } = outcome
    expect(await fixture.provider.unwrap(2, [{ iv, wrapped, aad }])).toEqual([dek])
  })
})
