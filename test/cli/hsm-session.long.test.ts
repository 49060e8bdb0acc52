import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest'
import type { Check } from '../../client/doctor/check.ts'
import { readVersion, readVersions } from '../../store/kek-versions.ts'
import {
  canBuildFaultHsm,
  makeFaultHsm,
  useFaultHsm,
  type FaultHsm,
} from '../fault-hsm/fault-hsm.ts'
import { openFleet, type Fleet } from '../support/fleet.ts'
import { hasTerminals, keyturnInTerminal, type TerminalEnd } from '../support/terminal.ts'

const run = promisify(execFile)
const softhsm = inject('softhsm')
const there = softhsm !== null && (await canBuildFaultHsm())
const records = 40

/** One fleet on a token that an administrator also uses; each test depends on those before it. */
describe.skipIf(!there)('the commands for an HSM', () => {
  let folder: string
  let fault: FaultHsm
  let fleet: Fleet

  beforeAll(async () => {
    folder = await mkdtemp(join(process.cwd(), '.keyturn', 'hsm-session-'))
    fault = await makeFaultHsm(folder, softhsm ?? '')
    useFaultHsm(fault)
    const one = { nodes: ['vm-a'], versions: [1] }
    fleet = await openFleet({ provider: 'pkcs11', modulePath: fault.path, ...one })
    await fleet.fill(records)
  })
  afterEach(() => fault.heal())
  afterAll(async () => {
    await fleet.close()
    await rm(folder, { recursive: true, force: true })
  })

  /** Acts as the administrator, without the fault module. */
  const tool = async (...args: string[]): Promise<string> => {
    const { label, pin } = fleet.token!
    const login = ['--module', softhsm ?? '', '--token-label', label, '--login', '--pin', pin]
    return (await run('pkcs11-tool', [...login, ...args])).stdout
  }
  const keygen = (label: string, id: string, ...more: string[]) =>
    tool('--keygen', '--key-type', 'AES:32', '--private', '--label', label, '--id', id, ...more)

  test('an installation that cannot work ends within a minute, with its reason', async () => {
    await fault.set('answer C_GenerateKey CKR_GENERAL_ERROR')
    const start = performance.now()
    const { code, json } = await fleet.cli('pkcs11-init', '--version', '9')
    expect(performance.now() - start).toBeLessThan(60_000)
    expect({ code, json }).toMatchObject({
      code: 4,
      json: {
        error: {
          code: 'hsm-failed',
          message: 'the token on vm-a is not usable: C_GenerateKey answered CKR_GENERAL_ERROR (5)',
        },
      },
    })
    expect(await readVersion(fleet.store, 9)).toBeNull()
  })

  describe('pkcs11-register', () => {
    test.each([
      ['loose', 'CKA_EXTRACTABLE=false', ['--sensitive', '--extractable']],
      ['plain', 'CKA_SENSITIVE=true', []],
    ])('refuses the key "%s" with 3, because it is not %s', async (label, lack, how) => {
      await keygen(label, '10', ...how)
      const answer = await fleet.cli('pkcs11-register', '--version', '2', '--label', label)
      expect(answer).toMatchObject({
        code: 3,
        json: { error: { code: 'key-attributes', message: `key "${label}" is not ${lack}` } },
      })
      expect(answer.stderr).toMatch(/^error: key .*\nhint: /)
      expect((await readVersions(fleet.store)).map(({ _id }) => _id)).toEqual([1])
    })

    test('installs a good key, which is then verified and rotated to, and never changed', async () => {
      await keygen('payments-2027', '20', '--sensitive')
      const before = await tool('-O')
      const named = ['--version', '2', '--label', 'payments-2027', '--id', '20']
      const made = await fleet.must('pkcs11-register', ...named)
      expect(made).toMatchObject({ version: 2, label: 'payments-2027', created: true })
      expect(made['probe']).toMatchObject({ usable: true, phases: [{ ok: true }, { ok: true }] })
      expect(await fleet.must('pkcs11-register', ...named)).toMatchObject({ created: false })
      const other = await fleet.cli('pkcs11-register', '--version', '3', '--label', 'payments-2027')
      expect(other).toMatchObject({ code: 3, json: { error: { code: 'version-exists' } } })
      expect(await readVersion(fleet.store, 2)).toMatchObject({ origin: 'registered' })

      expect(await fleet.must('verify', '--target', '2')).toMatchObject({ ready: true })
      const rotated = await fleet.must('rotate', '--to-version', '2')
      expect(rotated).toMatchObject({ outcome: 'completed', rewrapped: records, remaining: 0 })
      expect(await fleet.verifyRecords()).toEqual({ 2: records })
      expect(await tool('-O')).toBe(before)
    })
  })

  describe('doctor', () => {
    const checks = async () => {
      const { code, json } = await fleet.cli('doctor')
      const all = json['checks'] as Check[]
      return { code, of: (name: string) => all.find(({ check }) => check === name) }
    }

    test('has a line for module, token, probe and each key, and leaves no key behind', async () => {
      const before = await tool('-O')
      const { of } = await checks()
      expect(of('module')).toMatchObject({
        state: 'warn',
        detail: 'SoftHSM2: its keys are a file on one host: for development and tests',
        cure: 'see docs/hsm/software.md',
      })
      const detail = expect.stringContaining(`"${fleet.token!.label}", serial `) as string
      expect(of('token')).toMatchObject({ state: 'ok', detail })
      expect(of('probe')).toMatchObject({
        state: 'ok',
        detail: 'AES-GCM, IV by caller, 12 bytes; a wrong tag is refused with 5',
      })
      expect(of('key v1')).toMatchObject({ state: 'ok' })
      expect(of('key v2')).toMatchObject({ detail: '"payments-2027" opens its canary' })
      expect(await tool('-O')).toBe(before)
    })

    test('names the failed phase with its reason, and ends with 4', async () => {
      await fault.set('without 0x1087')
      const { code, of } = await checks()
      expect(code).toBe(4)
      expect(of('probe')).toMatchObject({
        state: 'fail',
        detail: 'mechanisms: HSM does not support CKM_AES_GCM',
        cure: expect.stringContaining('CKM_AES_KEY_GEN and CKM_AES_GCM') as string,
      })
    })
  })

  test('doctor is ended by Ctrl-C with 7, although the module hangs', async () => {
    const made = async () => (await fault.counters()).calls['C_GenerateKey'] ?? 0
    const before = await made()
    await fault.set('hang C_GenerateKey 1')
    const doctor = fleet.start('doctor')
    await fleet.until('it makes no key', async () => (await made()) > before, 60_000)
    doctor.signal('SIGINT')
    const { code, json, stderr } = await doctor.end()
    expect({ code, error: json.error }).toMatchObject({ code: 7, error: { code: 'cancelled' } })
    expect(stderr).toContain('interrupted: cleaning up\n')
  })

  describe.skipIf(!hasTerminals())('pkcs11-init --probe-only without a PIN, on a terminal', () => {
    /** Answers the PIN prompt. Each try needs another PIN, because a refused one is not sent again. */
    const answering = async (pin: string): Promise<TerminalEnd & { logins: number }> => {
      const before = (await fault.log()).filter((call) => call.function === 'C_Login').length
      const token = { module_path: fault.path, token_label: fleet.token!.label }
      const config = await fleet.writeConfig('asking', { kek: { pkcs11: token } })
      const args = ['--config', config, 'pkcs11-init', '--probe-only']
      const terminal = keyturnInTerminal(args, { env: fleet.env, cwd: folder })
      await terminal.shows(`PIN of the token with label "${fleet.token!.label}":`)
      terminal.type(`${pin}\r`)
      const end = await terminal.end()
      const after = (await fault.log()).filter((call) => call.function === 'C_Login').length
      return { ...end, logins: after - before }
    }

    test('asks for the PIN, and never shows it', async () => {
      const { pin } = fleet.token!
      const { code, screen } = await answering(pin)
      expect({ code, screen }).toMatchObject({ code: 0 })
      expect(screen).toContain('the throwaway key is gone')
      expect(screen).not.toContain(pin)
    })

    test('tries a wrong PIN once', async () => {
      await fault.set('pin refused')
      const { code, screen, logins } = await answering('no-such-pin')
      expect({ code, logins }).toEqual({ code: 4, logins: 1 })
      expect(screen).toMatch(/error: C_Login answered CKR_PIN_INCORRECT \(160\)\r?\nhint: /)
      expect(screen).not.toContain('no-such-pin')
    })

    test('sends no empty PIN', async () => {
      const { code, screen, logins } = await answering('')
      expect({ code, logins }).toEqual({ code: 2, logins: 0 })
      expect(screen).toMatch(/error: no PIN was typed\r?\nhint: set KEYTURN_ENCRYPTION_PKCS11_PIN/)
    })
  })
})
