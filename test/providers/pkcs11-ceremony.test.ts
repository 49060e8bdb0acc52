import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { silentLog } from '../../observability/log.ts'
import { openPkcs11Provider, type Pkcs11Provider } from '../../providers/pkcs11/pkcs11-provider.ts'
import { probeFailure, probeToken } from '../../providers/pkcs11/probe.ts'
import { freshName } from '../support/fresh.ts'
import { makeFaultHsm, useFaultHsm, type FaultHsm } from '../fault-hsm/fault-hsm.ts'
import { initToken, install, pkcs11Lab, run, type Pkcs11Lab } from './lab.ts'

describe.skipIf(inject('softhsm') === null)('keys and probes of a token', () => {
  let lab: Pkcs11Lab
  let provider: Pkcs11Provider
  let module: FaultHsm

  beforeAll(async () => {
    lab = await pkcs11Lab()
    module = await makeFaultHsm(lab.token.folder, lab.token.modulePath)
    useFaultHsm(module)
    provider = await lab.open()
  })
  afterAll(async () => {
    await provider.close()
    await lab.close()
  })

  const objects = async (): Promise<string> => {
    const { modulePath, label, pin } = lab.token
    const args = ['--module', modulePath, '--token-label', label, '--login', '--pin', pin, '-O']
    return (await run('pkcs11-tool', args)).stdout
  }
  const keygen = (label: string, ...more: string[]): Promise<unknown> => {
    const { modulePath, label: token, pin } = lab.token
    const login = ['--module', modulePath, '--token-label', token, '--login', '--pin', pin]
    return run('pkcs11-tool', [...login, '--keygen', '--private', '--label', label, ...more])
  }
  const open = (change: object, pin = lab.token.pin): Promise<Pkcs11Provider> =>
    openPkcs11Provider({ install, config: { ...lab.config, ...change }, pin, log: silentLog })

  it('makes a key once, and takes its own earlier attempt for it', async () => {
    const { ceremony } = provider
    const id = randomBytes(16)
    await ceremony.generate('made-v1', id)
    await ceremony.generate('made-v1', id)
    expect(await ceremony.find('made-v1', id)).toEqual({ keyId: id })
    expect(await ceremony.find('made-v1', null)).toEqual({ keyId: id })
    const other = ceremony.generate('made-v1', randomBytes(16))
    await expect(other).rejects.toMatchObject({ code: 'key-exists' })
  })

  it('names a key that is missing, and keys that are too many', async () => {
    const { ceremony } = provider
    await expect(ceremony.find('nobody-v1', null)).rejects.toMatchObject({
      code: 'key-not-found',
      message: 'key "nobody-v1" not found in token',
    })
    await keygen('twice', '--key-type', 'AES:32', '--id', '01', '--sensitive')
    await keygen('twice', '--key-type', 'AES:32', '--id', '02', '--sensitive')
    await expect(ceremony.find('twice', null)).rejects.toMatchObject({ code: 'key-ambiguous' })
    const generated = ceremony.generate('twice', Buffer.from('01', 'hex'))
    await expect(generated).rejects.toMatchObject({ code: 'key-exists' })
  })

  it('finds an administrator’s key, and says what another one lacks', async () => {
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

  it('destroys the key of exactly this label and id, and is content when it is gone', async () => {
    const { ceremony } = provider
    const id = randomBytes(16)
    await ceremony.generate('gone', id)
    await ceremony.destroy('gone', randomBytes(16))
    expect(await ceremony.find('gone', null)).toEqual({ keyId: id })
    await ceremony.destroy('gone', id)
    await ceremony.destroy('gone', id)
    await expect(ceremony.find('gone', null)).rejects.toMatchObject({ code: 'key-not-found' })
  })

  it('refuses a label of more than 32 characters before anything is made', async () => {
    const { ceremony } = provider
    const long = 'x'.repeat(33)
    await expect(ceremony.generate(long, randomBytes(16))).rejects.toMatchObject({ code: 'usage' })
    const other = await lab.open({ keyLabelPrefix: 'y'.repeat(30) })
    expect(() => other.ceremony.labelOf(1)).toThrow(expect.objectContaining({ code: 'usage' }))
    await other.close()
  })

  it('probes in four phases and leaves nothing behind', async () => {
    const before = await objects()
    const report = await probeToken({ config: lab.config, pin: lab.token.pin })
    expect(report).toMatchObject({
      module: lab.config.modulePath,
      token: { label: lab.token.label, manufacturer: 'SoftHSM project' },
      gcm: { ivMode: 'caller', ivLength: 12, tagBits: 128 },
      sessions: { max: null },
      tamperCode: 5,
      usable: true,
    })
    const phases = ['mechanisms', 'key-generation', 'aead', 'clean-up']
    expect(report.phases.map(({ phase }) => phase)).toEqual(phases)
    expect(report.phases.every(({ ok }) => ok)).toBe(true)
    expect(await objects()).toBe(before)
    expect(await provider.ceremony.gcmProfile()).toEqual(report.gcm)
  })

  it('refuses a forced IV mode that the token does not have', async () => {
    const config = { ...lab.config, useGcmIvFromHsm: true }
    const report = await probeToken({ config, pin: lab.token.pin })
    expect(report).toMatchObject({ usable: false, gcm: null, tamperCode: null })
    expect(probeFailure(report)).toMatchObject({ code: 'iv-mode-refused' })
    expect(report.phases.at(-1)).toMatchObject({ phase: 'clean-up', ok: true })
  })

  it('cleans up after a phase that failed, a crash, and an interruption', async () => {
    const config = { ...lab.config, modulePath: module.path }
    const before = await objects()
    await module.set('answer C_Encrypt 6')
    const failed = await probeToken({ config, pin: lab.token.pin })
    expect(failed).toMatchObject({ usable: false })
    expect(failed.phases.map(({ ok }) => ok)).toEqual([true, true, false, true])
    await module.set('crash C_Encrypt 1')
    const crashed = await probeToken({ config, pin: lab.token.pin })
    expect(crashed.phases.map(({ ok }) => ok)).toEqual([true, true, false, true])
    await module.set('latency C_Decrypt 300 1')
    const aborter = new AbortController()
    const interrupted = probeToken({ config, pin: lab.token.pin, signal: aborter.signal })
    setTimeout(() => aborter.abort(new Error('SIGINT')), 200)
    await expect(interrupted).rejects.toThrow('SIGINT')
    await module.heal()
    expect(await objects()).toBe(before)
  })

  it('names the mechanism that a token lacks', async () => {
    const report = await probeToken({ config: lab.config, pin: lab.token.pin })
    const detail = 'missing: CKM_AES_GCM'
    const phases = [{ phase: 'mechanisms', ok: false, detail, milliseconds: 1 } as const]
    const lacking = { ...report, usable: false, phases: [...phases] }
    expect(probeFailure(lacking)).toMatchObject({
      code: 'mechanism-missing',
      message: 'HSM does not support what is needed: missing: CKM_AES_GCM',
    })
  })

  it('answers wrong paths, tokens and PINs by code', async () => {
    const missing = open({ modulePath: '/nowhere/module.so' })
    await expect(missing).rejects.toMatchObject({ code: 'module-missing' })
    await expect(open({ token: { label: 'no such' } })).rejects.toMatchObject({
      code: 'token-not-found',
      hint: expect.stringContaining(lab.token.label) as string,
    })
    await expect(open({ token: { slot: 4242 } })).rejects.toMatchObject({ code: 'token-not-found' })
    await expect(open({}, 'not the pin')).rejects.toMatchObject({ code: 'pin-refused' })
    const twin = freshName('twin')
    await initToken(lab.token, twin)
    await initToken(lab.token, twin)
    await expect(open({ token: { label: twin } })).rejects.toMatchObject({
      code: 'token-ambiguous',
    })
  })

  it('finds a token by its serial', async () => {
    const { token } = await probeToken({ config: lab.config, pin: lab.token.pin })
    const other = await open({ token: { serial: token!.serial } })
    expect(other.pool.token?.token.label).toBe(lab.token.label)
    await other.close()
  })
})
