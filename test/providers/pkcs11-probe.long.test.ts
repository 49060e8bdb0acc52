import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest'
import type { ProbeReport } from '../../contracts/kek.ts'
import { ck } from '../../providers/pkcs11/lane/driver.ts'
import { probeMechanisms } from '../../providers/pkcs11/lane/mechanisms.ts'
import type { LaneSession } from '../../providers/pkcs11/lane/session.ts'
import { claimOn, freshProbeId, PROBE_LABEL } from '../../providers/pkcs11/wire/probe-key.ts'
import { probeFailure } from '../../providers/pkcs11/probe/failure.ts'
import { probeToken } from '../../providers/pkcs11/probe/probe.ts'
import { makeFaultHsm, useFaultHsm, type FaultHsm } from '../fault-hsm/fault-hsm.ts'
import { processes } from '../support/processes.ts'
import { workbench } from '../cli/workbench.ts'
import { pkcs11Fixture, run, until, type Pkcs11Fixture } from './fixture.ts'

/** The token refuses session keys, so the throwaway key stays in the token until it is destroyed. */
const onTheToken = 'answer C_GenerateKey CKR_TEMPLATE_INCONSISTENT 1'

describe.skipIf(inject('softhsm') === null)('a probe cleans up', () => {
  let fixture: Pkcs11Fixture
  let module: FaultHsm
  let before: string

  beforeAll(async () => {
    fixture = await pkcs11Fixture()
    module = await makeFaultHsm(fixture.token.folder, fixture.token.modulePath)
    useFaultHsm(module)
    before = await objects()
  })
  beforeEach(() => module.heal())
  afterAll(() => fixture.close())

  const objects = async (): Promise<string> => {
    const { modulePath, label, pin } = fixture.token
    const args = ['--module', modulePath, '--token-label', label, '--login', '--pin', pin, '-O']
    return (await run('pkcs11-tool', args)).stdout
  }
  const probe = (signal?: AbortSignal): Promise<ProbeReport> =>
    probeToken({
      config: { ...fixture.config, modulePath: module.path },
      pin: fixture.token.pin,
      ...(signal === undefined ? {} : { signal }),
    })
  const phases = ({ phases }: ProbeReport) => phases.map(({ ok }) => ok)

  test('after a success with a key that lives in the token', async () => {
    await module.set(onTheToken)
    const report = await probe()
    expect(report).toMatchObject({ usable: true })
    expect(report.phases[1]?.detail).toBe('AES-256 token key, sensitive and not extractable')
    expect(await objects()).toBe(before)
  })

  test.each<[string, boolean[], string]>([
    ['answer C_GetMechanismList CKR_GENERAL_ERROR 1', [false, true], 'hsm-failed'],
    ['answer C_GenerateKey CKR_DEVICE_ERROR', [true, false, true], 'hsm-away'],
    ['crash C_GenerateKey 1', [true, false, true], 'hsm-failed'],
    [
      'answer C_EncryptInit CKR_MECHANISM_PARAM_INVALID',
      [true, true, false, true],
      'token-not-usable',
    ],
    ['answer C_Encrypt CKR_FUNCTION_FAILED', [true, true, false, true], 'token-not-usable'],
    ['crash C_Encrypt 1', [true, true, false, true], 'hsm-failed'],
    ['answer C_Encrypt CKR_DEVICE_REMOVED 1', [true, true, false, true], 'hsm-away'],
    ['crash C_DecryptInit 1', [true, true, false, true], 'hsm-failed'],
    ['answer C_Decrypt CKR_ENCRYPTED_DATA_INVALID', [true, true, false, true], 'token-not-usable'],
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

  test('and reports the key when it could not be destroyed', async () => {
    // The search of the aead phase succeeds, that of the clean-up and of its repeats do not.
    await module.set(
      onTheToken,
      'crash C_Encrypt 1',
      'answer C_FindObjectsInit CKR_KEY_FUNCTION_NOT_PERMITTED',
    )
    const report = await probe()
    const cleanUp = report.phases.at(-1)
    expect(cleanUp).toMatchObject({ phase: 'clean-up', ok: false })
    expect(cleanUp?.error?.hint).toMatch(/label "keyturn-probe", id [0-9a-f]{32}$/)
    expect(report.usable).toBe(false)
    await module.heal()
    const id = cleanUp!.error!.hint!.slice(-32)
    const { modulePath, label, pin } = fixture.token
    const login = ['--module', modulePath, '--token-label', label, '--login', '--pin', pin]
    await run('pkcs11-tool', [...login, '--delete-object', '--type', 'secrkey', '--id', id])
    expect(await objects()).toBe(before)
  })

  /** Interrupts a probe while the module is in a call of this function, which it does not leave; answers what was thrown. */
  const interruptIn = async (hanging: string, ...lines: string[]): Promise<unknown> => {
    const answered = lines.filter((line) => line.includes(hanging)).length
    const calls = async () => (await module.counters()).calls[hanging] ?? 0
    const earlier = await calls()
    await module.set(...lines, `hang ${hanging} 1`)
    const aborter = new AbortController()
    const thrown = probe(aborter.signal).catch((error: unknown) => error)
    await until(async () => (await calls()) > earlier + answered)
    const start = performance.now()
    aborter.abort(new Error('SIGINT'))
    const error = await thrown
    // It is the grace that ended it, and no deadline of 30 s.
    expect(performance.now() - start).toBeLessThan(25_000)
    await module.heal()
    expect(await objects()).toBe(before)
    return error
  }

  test('after an interruption while the module hangs, in another process', async () => {
    expect(await interruptIn('C_Decrypt', onTheToken)).toMatchObject({ message: 'SIGINT' })
  })

  test('without another login when the key was a session key or not made yet', async () => {
    const logins = await module.logins(0)
    expect(await interruptIn('C_GenerateKey')).toMatchObject({ message: 'SIGINT' })
    expect(await module.logins(0)).toBe(logins + 1)
    expect(await interruptIn('C_Login')).toMatchObject({ message: 'SIGINT' })
  })

  test('and names the key that the token may still make after the probe has ended', async () => {
    expect(await interruptIn('C_GenerateKey', onTheToken)).toMatchObject({
      code: 'hsm-failed',
      message: expect.stringMatching(/the token did not answer, and may make it later$/) as string,
      hint: expect.stringMatching(/label "keyturn-probe", id [0-9a-f]{32}$/) as string,
    })
  })

  test('of other probes: abandoned keys are destroyed, keys that may be in use are named', async () => {
    const { modulePath, label, pin } = fixture.token
    const login = ['--module', modulePath, '--token-label', label, '--login', '--pin', pin]
    const leave = async (id: Buffer): Promise<string> => {
      const named = ['--label', PROBE_LABEL, '--id', id.toString('hex'), '--private']
      await run('pkcs11-tool', [...login, '--keygen', '--key-type', 'AES:32', ...named])
      return id.toString('hex')
    }
    const hour = 3_600_000
    const old = await leave(freshProbeId(Date.now() - 2 * hour))
    const ours = await leave(freshProbeId())
    const elsewhere = await leave(onAnotherHost(freshProbeId()))
    const foreign = await leave(Buffer.from('probe'))
    const report = await probe()
    expect(report).toMatchObject({ usable: true })
    expect(report.phases.at(-1)?.detail).toBe('the throwaway key is gone, and 1 of earlier probes')
    expect(report.warnings).toHaveLength(2)
    expect(report.warnings.join()).toMatch(new RegExp(`${elsewhere} is in the token: a probe on`))
    expect(report.warnings.join()).toMatch(new RegExp(`${foreign} is in .* not from a probe`))
    const now = await objects()
    expect([old, ours, elsewhere, foreign].map((id) => now.includes(id))).toEqual([
      false,
      true,
      true,
      true,
    ])
    for (const id of [ours, elsewhere, foreign]) {
      await run('pkcs11-tool', [...login, '--delete-object', '--type', 'secrkey', '--id', id])
    }
    expect(await objects()).toBe(before)
  })
})

/** The same id as another host had made it. */
function onAnotherHost(id: Buffer): Buffer {
  const host = id.subarray(4, 8)
  host.forEach((byte, at) => (host[at] = byte ^ 0xff))
  return id
}

describe('the id of a throwaway key identifies its maker', () => {
  const minute = 60_000
  const of = (pid: number): Buffer => {
    const id = freshProbeId()
    id.writeUIntBE(pid, 12, 3)
    return id
  }

  test('as this process, a live process, or a dead one', () => {
    expect(freshProbeId()).toHaveLength(16)
    expect(claimOn(freshProbeId())).toBe('in-use')
    expect(claimOn(of(process.ppid))).toBe('in-use')
    // Above the greatest pid of Linux.
    expect(claimOn(of(0xff_ff_ff))).toBe('abandoned')
  })

  test('as an earlier process with the same number, as in a restarted container', () => {
    expect(claimOn(freshProbeId(performance.timeOrigin - minute))).toBe('abandoned')
  })

  test('as another host, until the key is older than any probe', () => {
    const id = onAnotherHost(freshProbeId())
    expect(claimOn(id)).toBe('perhaps-in-use')
    expect(claimOn(id, Date.now() + 61 * minute)).toBe('abandoned')
  })

  test('as not a probe', () => {
    expect(claimOn(randomBytes(16))).toBe('not-ours')
    expect(claimOn(freshProbeId().subarray(1))).toBe('not-ours')
    expect(claimOn(Buffer.alloc(0))).toBe('not-ours')
  })
})

describe.skipIf(inject('softhsm') === null)('keyturn pkcs11-init --probe-only', () => {
  const running = processes()

  test('that is killed leaves a key to the next, which is interrupted, cleans up and ends with 7', async () => {
    const fixture = await pkcs11Fixture()
    const module = await makeFaultHsm(fixture.token.folder, fixture.token.modulePath)
    const bench = await workbench(running)
    const pinFile = await bench.write('pin', fixture.token.pin, 0o400)
    const { token_label } = { token_label: fixture.token.label }
    const pkcs11 = { module_path: module.path, token_label, pin_file: pinFile }
    await bench.config({ kek: { provider: 'pkcs11', pkcs11 } })
    const env = { ...module.env, SOFTHSM2_CONF: fixture.token.conf }
    const objects = async () => {
      const { modulePath, label, pin } = fixture.token
      const args = ['--module', modulePath, '--token-label', label, '--login', '--pin', pin, '-O']
      return (await run('pkcs11-tool', args)).stdout
    }
    const keys = async () => (await objects()).split(PROBE_LABEL).length - 1
    const encrypted = async () => (await module.counters()).calls['C_Encrypt'] ?? 0
    const begin = async () => {
      const before = await encrypted()
      await module.set(onTheToken, 'hang C_Encrypt 1')
      const probe = running.cli(['pkcs11-init', '--probe-only'], { cwd: bench.folder, env })
      await until(async () => (await encrypted()) > before)
      return probe
    }
    const killed = await begin()
    await killed.kill()
    expect(await keys()).toBe(1)
    const probe = await begin()
    process.kill(probe.pid, 'SIGINT')
    const { code, stdout, stderr } = await probe.exit()
    expect({ code, stdout }).toEqual({ code: 7, stdout: '' })
    expect(stderr).toContain('interrupted: cleaning up\n')
    expect(stderr).toContain('error: the probe was interrupted, and left nothing behind\n')
    expect(await keys()).toBe(1)
    const tidied = await probeToken({ config: fixture.config, pin: fixture.token.pin })
    expect(tidied.phases.at(-1)?.detail).toMatch(/, and 1 of earlier probes$/)
    expect(tidied.warnings).toEqual([])
    expect(await keys()).toBe(0)
    await fixture.close()
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

  test.each<[number[], Record<number, number>, [number, number], string[]]>([
    [all, flags, [16, 32], []],
    [all, flags, [128, 256], []],
    [all, flags, [0, 0], []],
    [[ck.CKM_AES_KEY_GEN], flags, [16, 32], ['CKM_AES_GCM']],
    [[], flags, [16, 32], ['CKM_AES_KEY_GEN', 'CKM_AES_GCM']],
    [all, { ...flags, [ck.CKM_AES_GCM]: 0x100 }, [16, 32], ['CKM_AES_GCM for decrypt']],
    [all, { ...flags, [ck.CKM_AES_KEY_GEN]: 0 }, [16, 32], ['CKM_AES_KEY_GEN for generate']],
  ])('%j are reported with what is missing', (list, has, sizes, missing) => {
    expect(found(list, has, sizes)).toEqual(missing)
  })

  test('for 128-bit keys only are not enough', () => {
    expect(found(all, flags, [16, 16])).toHaveLength(2)
  })
})
