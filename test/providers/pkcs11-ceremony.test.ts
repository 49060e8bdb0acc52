import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { silentLog } from '../../observability/log.ts'
import { openPkcs11Provider, type Pkcs11Provider } from '../../providers/pkcs11/pkcs11-provider.ts'
import { probeFailure } from '../../providers/pkcs11/probe/failure.ts'
import { probeToken } from '../../providers/pkcs11/probe/probe.ts'
import { freshName } from '../support/fresh.ts'
import { initToken, install, pkcs11Fixture, run, type Pkcs11Fixture } from './fixture.ts'

describe.skipIf(inject('softhsm') === null)('keys and probes of a token', () => {
  let fixture: Pkcs11Fixture
  let provider: Pkcs11Provider

  beforeAll(async () => {
    fixture = await pkcs11Fixture()
    provider = await fixture.open()
  })
  afterAll(async () => {
    await provider.close()
    await fixture.close()
  })

  const objects = async (): Promise<string> => {
    const { modulePath, label, pin } = fixture.token
    const args = ['--module', modulePath, '--token-label', label, '--login', '--pin', pin, '-O']
    return (await run('pkcs11-tool', args)).stdout
  }
  const keygen = (label: string, ...more: string[]): Promise<unknown> => {
    const { modulePath, label: token, pin } = fixture.token
    const login = ['--module', modulePath, '--token-label', token, '--login', '--pin', pin]
    return run('pkcs11-tool', [...login, '--keygen', '--private', '--label', label, ...more])
  }
  const open = (change: object, pin = fixture.token.pin): Promise<Pkcs11Provider> =>
    openPkcs11Provider({ install, config: { ...fixture.config, ...change }, pin, log: silentLog })

  test('makes a key once, and finds the key of its own earlier attempt', async () => {
    const { ceremony } = provider
    const id = randomBytes(16)
    await ceremony.generate('made-v1', id)
    await ceremony.generate('made-v1', id)
    expect(await ceremony.find('made-v1', id)).toEqual({ keyId: id })
    expect(await ceremony.find('made-v1', null)).toEqual({ keyId: id })
    const other = ceremony.generate('made-v1', randomBytes(16))
    await expect(other).rejects.toMatchObject({ code: 'key-exists' })
  })

  test('ignores the key that a copy of this keystore made under the same label', async () => {
    const { ceremony } = provider
    const [copy, own] = [randomBytes(8), randomBytes(8)]
    const idOf = (keystore: Buffer) => Buffer.concat([keystore, randomBytes(8)])
    const [copied, made] = [idOf(copy), idOf(own)]
    await ceremony.generate('shared-v3', copied, copy)
    await ceremony.generate('shared-v3', made, own)
    expect(await ceremony.find('shared-v3', made)).toEqual({ keyId: made })
    expect(await ceremony.find('shared-v3', copied)).toEqual({ keyId: copied })
    // Another one of its own is nothing that a copy made.
    await expect(ceremony.generate('shared-v3', idOf(own), own)).rejects.toMatchObject({
      code: 'key-exists',
    })
    await ceremony.destroy('shared-v3', copied)
    expect(await ceremony.find('shared-v3', null)).toEqual({ keyId: made })
  })

  test('reports missing and duplicate keys', async () => {
    const { ceremony } = provider
    await expect(ceremony.find('missing-v1', null)).rejects.toMatchObject({
      code: 'key-not-found',
      message: 'key "missing-v1" not found in token',
    })
    await keygen('twice', '--key-type', 'AES:32', '--id', '01', '--sensitive')
    await keygen('twice', '--key-type', 'AES:32', '--id', '02', '--sensitive')
    await expect(ceremony.find('twice', null)).rejects.toMatchObject({ code: 'key-ambiguous' })
    const generated = ceremony.generate('twice', Buffer.from('01', 'hex'))
    await expect(generated).rejects.toMatchObject({ code: 'key-exists' })
  })

  test('finds an administrator’s key, and reports the attribute that another key lacks', async () => {
    const { ceremony } = provider
    await keygen('admin', '--key-type', 'AES:32', '--id', '07', '--sensitive')
    expect(await ceremony.find('admin', null)).toEqual({ keyId: Buffer.from([7]) })
    await keygen('loose', '--key-type', 'AES:32', '--id', '08', '--extractable')
    await expect(ceremony.find('loose', null)).rejects.toMatchObject({
      code: 'key-attributes',
      message: expect.stringContaining('CKA_EXTRACTABLE=false') as string,
    })
    await keygen('short', '--key-type', 'AES:16', '--id', '09', '--sensitive')
    await expect(ceremony.find('short', null)).rejects.toMatchObject({
      code: 'key-attributes',
      message: 'key "short" is not CKA_VALUE_LEN=32',
    })
  })

  test('destroys the key of exactly this label and id, and succeeds when it is already gone', async () => {
    const { ceremony } = provider
    const id = randomBytes(16)
    await ceremony.generate('gone', id)
    await ceremony.destroy('gone', randomBytes(16))
    expect(await ceremony.find('gone', null)).toEqual({ keyId: id })
    await ceremony.destroy('gone', id)
    await ceremony.destroy('gone', id)
    await expect(ceremony.find('gone', null)).rejects.toMatchObject({ code: 'key-not-found' })
  })

  test('destroys only a key that opens the given canary', async () => {
    const { ceremony } = provider
    const [id, other] = [randomBytes(16), randomBytes(16)]
    await ceremony.generate('mine', id)
    await ceremony.generate('theirs', other)
    const gcm = await ceremony.gcmProfile()
    const canary = await ceremony.makeCanary(7, 'mine', id, gcm)
    const mine = { version: 7, provider: 'pkcs11', label: 'mine', keyId: id, gcm, canary } as const
    const wrong = { code: 'wrong-key' }
    await expect(ceremony.destroy('theirs', other, mine)).rejects.toMatchObject(wrong)
    // The canary of another version, and be it of the same key.
    await expect(ceremony.destroy('mine', id, { ...mine, version: 8 })).rejects.toMatchObject(wrong)
    expect(await ceremony.find('theirs', null)).toEqual({ keyId: other })
    expect(await ceremony.destroy('mine', id, mine)).toBe('destroyed')
    expect(await ceremony.destroy('mine', id, mine)).toBe('absent')
  })

  test('refuses a label of more than 32 characters before anything is made', async () => {
    const { ceremony } = provider
    const long = 'x'.repeat(33)
    await expect(ceremony.generate(long, randomBytes(16))).rejects.toMatchObject({ code: 'usage' })
    const other = await fixture.open({ keyLabelPrefix: 'y'.repeat(30) })
    expect(() => other.ceremony.labelOf(1)).toThrow(expect.objectContaining({ code: 'usage' }))
    await other.close()
  })

  test('probes in four phases and leaves nothing behind', async () => {
    const before = await objects()
    const report = await probeToken({ config: fixture.config, pin: fixture.token.pin })
    expect(report).toMatchObject({
      module: fixture.config.modulePath,
      token: { label: fixture.token.label, manufacturer: 'SoftHSM project' },
      gcm: { ivMode: 'caller', ivLength: 12, tagBits: 128 },
      sessions: { max: null },
      tamperCode: 5,
      tamper: { tag: 5, aad: 5, iv: 5 },
      vendor: { name: 'SoftHSM2', support: 'run' },
      usable: true,
    })
    const phases = ['mechanisms', 'key-generation', 'aead', 'clean-up']
    expect(report.phases.map(({ phase }) => phase)).toEqual(phases)
    expect(report.phases.every(({ ok }) => ok)).toBe(true)
    expect(await objects()).toBe(before)
    expect(await provider.ceremony.gcmProfile()).toEqual(report.gcm)
  })

  test('refuses a forced IV mode that the token does not have', async () => {
    const config = { ...fixture.config, useGcmIvFromHsm: true }
    const report = await probeToken({ config, pin: fixture.token.pin })
    expect(report).toMatchObject({ usable: false, gcm: null, tamperCode: null })
    expect(probeFailure(report)).toMatchObject({
      code: 'iv-mode-refused',
      hint: 'set kek.pkcs11.use_gcm_iv_from_hsm to auto',
    })
    expect(report.phases.at(-1)).toMatchObject({ phase: 'clean-up', ok: true })
  })

  test('reports wrong paths, tokens and PINs with their codes', async () => {
    const missing = open({ modulePath: '/nowhere/module.so' })
    await expect(missing).rejects.toMatchObject({ code: 'module-missing' })
    await expect(open({ token: { label: 'no such' } })).rejects.toMatchObject({
      code: 'token-not-found',
      hint: expect.stringContaining(fixture.token.label) as string,
    })
    await expect(open({ token: { slot: 4242 } })).rejects.toMatchObject({ code: 'token-not-found' })
    await expect(open({}, 'not the pin')).rejects.toMatchObject({ code: 'pin-refused' })
    const twin = freshName('twin')
    await initToken(fixture.token, twin)
    await initToken(fixture.token, twin)
    await expect(open({ token: { label: twin } })).rejects.toMatchObject({
      code: 'token-ambiguous',
    })
  })

  test('finds a token by its serial', async () => {
    const { token } = await probeToken({ config: fixture.config, pin: fixture.token.pin })
    const other = await open({ token: { serial: token!.serial } })
    expect(other.pool.token?.token.label).toBe(fixture.token.label)
    await other.close()
  })
})
