import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest'
import type { ProbeReport } from '../../contracts/kek.ts'
import { ck } from '../../providers/pkcs11/driver.ts'
import { probeMechanisms } from '../../providers/pkcs11/lane-probe.ts'
import type { LaneSession } from '../../providers/pkcs11/lane-session.ts'
import { probeFailure } from '../../providers/pkcs11/probe-failure.ts'
import { probeToken } from '../../providers/pkcs11/probe.ts'
import { makeFaultHsm, useFaultHsm, type FaultHsm } from '../fault-hsm/fault-hsm.ts'
import { processes } from '../support/processes.ts'
import { workbench } from '../cli/workbench.ts'
import { pkcs11Lab, run, until, type Pkcs11Lab } from './lab.ts'

/** A session key cannot be made: the throwaway key is then one that stays in the token until somebody destroys it. */
const onTheToken = 'answer C_GenerateKey 209 1'

describe.skipIf(inject('softhsm') === null)('a probe cleans up', () => {
  let lab: Pkcs11Lab
  let module: FaultHsm
  let before: string

  beforeAll(async () => {
    lab = await pkcs11Lab()
    module = await makeFaultHsm(lab.token.folder, lab.token.modulePath)
    useFaultHsm(module)
    before = await objects()
  })
  beforeEach(() => module.heal())
  afterAll(() => lab.close())

  const objects = async (): Promise<string> => {
    const { modulePath, label, pin } = lab.token
    const args = ['--module', modulePath, '--token-label', label, '--login', '--pin', pin, '-O']
    return (await run('pkcs11-tool', args)).stdout
  }
  const probe = (signal?: AbortSignal): Promise<ProbeReport> =>
    probeToken({
      config: { ...lab.config, modulePath: module.path },
      pin: lab.token.pin,
      ...(signal === undefined ? {} : { signal }),
    })
  const phases = ({ phases }: ProbeReport) => phases.map(({ ok }) => ok)

  it('after a success with a key that lives in the token', async () => {
    await module.set(onTheToken)
    const report = await probe()
    expect(report).toMatchObject({ usable: true })
    expect(report.phases[1]?.detail).toBe('AES-256 token key, sensitive and not extractable')
    expect(await objects()).toBe(before)
  })

  it.each<[string, boolean[], string]>([
    ['answer C_GetMechanismList 5 1', [false, true], 'hsm-failed'],
    ['answer C_GenerateKey 48', [true, false, true], 'hsm-away'],
    ['crash C_GenerateKey 1', [true, false, true], 'hsm-failed'],
    ['answer C_EncryptInit 113', [true, true, false, true], 'token-not-usable'],
    ['answer C_Encrypt 6', [true, true, false, true], 'token-not-usable'],
    ['crash C_Encrypt 1', [true, true, false, true], 'hsm-failed'],
    ['answer C_Encrypt 50 1', [true, true, false, true], 'hsm-away'],
    ['crash C_DecryptInit 1', [true, true, false, true], 'hsm-failed'],
    ['answer C_Decrypt 64', [true, true, false, true], 'token-not-usable'],
  ])('after %s', async (fault, oks, code) => {
    await module.set(...(fault.includes('C_GenerateKey') ? [] : [onTheToken]), fault)
    const report = await probe()
    expect(phases(report)).toEqual(oks)
    expect(report.phases.at(-1)?.phase).toBe('clean-up')
    expect(probeFailure(report)).toMatchObject({ code })
    expect(probeFailure(report)?.message).not.toContain('\n')
    await module.heal()
    expect(await objects()).toBe(before)
  })

  it('and says how the key is called when it could not be', async () => {
    // The search of the aead phase succeeds, that of the clean-up and of its repeats do not.
    await module.set(onTheToken, 'crash C_Encrypt 1', 'answer C_FindObjectsInit 104')
    const report = await probe()
    const cleanUp = report.phases.at(-1)
    expect(cleanUp).toMatchObject({ phase: 'clean-up', ok: false })
    expect(cleanUp?.error?.hint).toMatch(/label keyturn-probe, id [0-9a-f]{32}$/)
    expect(report.usable).toBe(false)
    await module.heal()
    const id = cleanUp!.error!.hint!.slice(-32)
    const { modulePath, label, pin } = lab.token
    const login = ['--module', modulePath, '--token-label', label, '--login', '--pin', pin]
    await run('pkcs11-tool', [...login, '--delete-object', '--type', 'secrkey', '--id', id])
    expect(await objects()).toBe(before)
  })

  it('after an interruption, which is then what is thrown', async () => {
    await module.set(onTheToken, 'latency C_Decrypt 300 1')
    const aborter = new AbortController()
    const interrupted = probe(aborter.signal)
    setTimeout(() => aborter.abort(new Error('SIGINT')), 200)
    await expect(interrupted).rejects.toThrow('SIGINT')
    await module.heal()
    expect(await objects()).toBe(before)
  })
})

describe.skipIf(inject('softhsm') === null)('keyturn pkcs11-init --probe-only', () => {
  const running = processes()

  it('that gets SIGINT cleans up, says so in one line, and ends with 7', async () => {
    const lab = await pkcs11Lab()
    const module = await makeFaultHsm(lab.token.folder, lab.token.modulePath)
    const bench = await workbench(running)
    const pinFile = await bench.write('pin', lab.token.pin, 0o400)
    const { token_label } = { token_label: lab.token.label }
    const pkcs11 = { module_path: module.path, token_label, pin_file: pinFile }
    await bench.config({ kek: { provider: 'pkcs11', pkcs11 } })
    await module.set(onTheToken, 'latency C_Encrypt 2500 1')
    const env = { ...module.env, SOFTHSM2_CONF: lab.token.conf }
    const probe = running.cli(['pkcs11-init', '--probe-only'], { cwd: bench.folder, env })
    const objects = async () => {
      const { modulePath, label, pin } = lab.token
      const args = ['--module', modulePath, '--token-label', label, '--login', '--pin', pin, '-O']
      return (await run('pkcs11-tool', args)).stdout
    }
    await until(async () => (await objects()).includes('keyturn-probe'))
    process.kill(probe.pid, 'SIGINT')
    const { code, stdout, stderr } = await probe.exit()
    expect({ code, stdout }).toEqual({ code: 7, stdout: '' })
    expect(stderr).toContain('interrupted: cleaning up\n')
    expect(stderr).toContain('error: the probe was interrupted, and left nothing behind\n')
    expect(await objects()).not.toContain('keyturn-probe')
    await lab.close()
  })
})

describe('the mechanisms of a token', () => {
  const generate = 0x8000
  const crypt = 0x300
  const all = [ck.CKM_AES_KEY_GEN, ck.CKM_AES_GCM]
  const found = (list: number[], flags: Record<number, number>, sizes: [number, number]) => {
    const cryptoki = {
      C_GetMechanismList: () => list,
      C_GetMechanismInfo: (_slot: Buffer, mechanism: number) => ({
        flags: flags[mechanism],
        minKeySize: sizes[0],
        maxKeySize: sizes[1],
      }),
    }
    const session = { cryptoki, token: { slot: randomBytes(8) } } as unknown as LaneSession
    return probeMechanisms(session).missing
  }
  const flags = { [ck.CKM_AES_KEY_GEN]: generate, [ck.CKM_AES_GCM]: crypt }

  it.each<[number[], Record<number, number>, [number, number], string[]]>([
    [all, flags, [16, 32], []],
    [all, flags, [128, 256], []],
    [all, flags, [0, 0], []],
    [[ck.CKM_AES_KEY_GEN], flags, [16, 32], ['CKM_AES_GCM']],
    [[], flags, [16, 32], ['CKM_AES_KEY_GEN', 'CKM_AES_GCM']],
    [all, { ...flags, [ck.CKM_AES_GCM]: 0x100 }, [16, 32], ['CKM_AES_GCM for decrypt']],
    [all, { ...flags, [ck.CKM_AES_KEY_GEN]: 0 }, [16, 32], ['CKM_AES_KEY_GEN for generate']],
  ])('%j: what is missing is named', (list, has, sizes, missing) => {
    expect(found(list, has, sizes)).toEqual(missing)
  })

  it('of 128-bit keys alone are not enough', () => {
    expect(found(all, flags, [16, 16])).toHaveLength(2)
  })
})
