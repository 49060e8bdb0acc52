import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest'
import {
  canBuildFaultHsm,
  makeFaultHsm,
  useFaultHsm,
  type FaultHsm,
} from '../fault-hsm/fault-hsm.ts'
import { route } from '../support/each-provider.ts'
import { openFleet, type Fleet } from '../support/fleet.ts'
import { quiet } from '../support/quiet.ts'

const run = promisify(execFile)
const softhsm = inject('softhsm')
const there = softhsm !== null && (await canBuildFaultHsm())
/** A full run uses KEYTURN_RECORDS=20000. */
const records = Number(process.env['KEYTURN_RECORDS'] ?? 300)

/** A page in flight has three seconds; the rest is for the workflow's steps on a busy machine. */
const cancelledWithinMs = 30_000

/** Each kind of fault in docs/hsm.md, during a rotation. */
const faults = [
  'answer C_EncryptInit CKR_SESSION_HANDLE_INVALID 3',
  'answer C_DecryptInit CKR_OPERATION_ACTIVE 3',
  'answer C_Encrypt CKR_DEVICE_ERROR 2',
  'answer C_EncryptInit CKR_USER_NOT_LOGGED_IN 2',
  'answer crypt CKR_FUNCTION_FAILED 20',
  'answer C_Encrypt CKR_DEVICE_MEMORY 10',
  'answer C_EncryptInit CKR_KEY_HANDLE_INVALID 3',
  'answer C_DecryptInit CKR_OBJECT_HANDLE_INVALID 3',
  'answer crypt CKR_GENERAL_ERROR 3',
  'sessions dropped',
  'handles stale',
  'dead CKR_GENERAL_ERROR',
  'crash C_Encrypt 1',
  // A hang takes ten seconds, so the short run leaves it to the pool's tests.
  ...(records > 1_000 ? ['hang C_Decrypt 1'] : []),
]

describe.skipIf(!there)('a rotation with HSM faults', { timeout: 240_000 + 20 * records }, () => {
  let folder: string
  let fault: FaultHsm
  let fleet: Fleet

  beforeAll(
    async () => {
      folder = await mkdtemp(join(process.cwd(), '.keyturn', 'faults-'))
      fault = await makeFaultHsm(folder, softhsm ?? '')
      useFaultHsm(fault)
      fleet = await openFleet({ provider: 'pkcs11', modulePath: fault.path })
      await fleet.fill(records)
    },
    120_000 + 20 * records,
  )
  afterEach(async () => {
    await fault.heal()
  })
  afterAll(async () => {
    await fleet.close()
    await rm(folder, { recursive: true, force: true })
  })

  /** All faults together take a part of a minute; the limit is removed when they are over. */
  const rate = `${Math.ceil(records / 60)}`
  const moved = async (): Promise<number> => (await fleet.counters()).rewrapped

  test('completes by itself during every fault of the table, without a lost or quarantined envelope', async () => {
    const { to, total } = await route(fleet)
    const rotation = fleet.start('rotate', '--to-version', `${to}`, '--max-rate', rate)
    await fleet.rewrapped(1)
    for (const line of faults) {
      const before = await moved()
      await fault.set(line)
      const step = Math.max(1, Math.floor(total / 60))
      await fleet.rewrapped(Math.min(total, before + step)).catch((error: unknown) => {
        throw new Error(`after "${line}": ${String(error)}`)
      })
    }
    await fault.heal()
    await fleet.must('rate', '0')
    const { code, json, stderr } = await rotation.end()
    expect({ code, stderr }).toMatchObject({ code: 0 })
    expect(json).toMatchObject({ outcome: 'completed', remaining: 0, quarantined: 0 })
    expect(json.rewrapped + json.superseded).toBe(total)
    expect(await fleet.verifyRecords()).toEqual({ [to]: total })
  })

  // The second is a client library that stays dead in a new process, until it is repaired.
  test.each([
    ['device removed', 'no token'],
    ['answer crypt CKR_GENERAL_ERROR', 'CKR_GENERAL_ERROR (5)'],
  ])(
    'shows that it is paused during "%s", and continues by itself afterwards',
    async (trouble, why) => {
      const { to, total } = await route(fleet)
      const rotation = fleet.start('rotate', '--to-version', `${to}`, '--max-rate', rate)
      await fleet.rewrapped(1)
      await fault.set(trouble)
      const paused = async () => {
        const { rotation } = await fleet.must('status')
        return rotation.paused && rotation.pausedBy === 'hsm-away' ? rotation : false
      }
      const told = await fleet.until('no status says that the HSM is away', paused, 90_000)
      expect(told.awaiting.join('\n')).toMatch(/the HSM since \d{4}-\S+ \(\d of \d ranges\): /)
      expect(told.awaiting.join('\n')).toContain(why)
      expect(told.etaSeconds).toBeNull()
      const shown = () => rotation.stderr().includes('paused (hsm-away): waits for the HSM')
      await fleet.until('the follower does not say it', async () => shown())
      const logs = await Promise.all(fleet.nodes.names().map((node) => fleet.nodes.log(node)))
      expect(logs.join('\n')).toContain('the rotation waits for the HSM: ')
      await fault.heal()
      await fleet.must('rate', '0')
      const { code, json, stderr } = await rotation.end()
      expect({ code, stderr }).toMatchObject({ code: 0 })
      expect(json).toMatchObject({ outcome: 'completed', remaining: 0, quarantined: 0 })
      expect(await fleet.verifyRecords()).toEqual({ [to]: total })
    },
  )

  test('is cancelled while its pages hang inside the module, and the next one completes', async () => {
    const { to, total } = await route(fleet)
    const rotation = fleet.start('rotate', '--to-version', `${to}`, '--max-rate', rate)
    await fleet.rewrapped(1)
    const encrypts = async () => (await fault.counters()).calls['C_Encrypt'] ?? 0
    await fault.set('hang C_Encrypt')
    const before = await encrypts()
    await fleet.until('no call hangs', async () => (await encrypts()) > before)
    const began = performance.now()
    const cancel = await fleet.cli('cancel')
    expect(cancel).toMatchObject({ code: 0, json: { outcome: 'cancelled' } })
    expect(performance.now() - began).toBeLessThan(cancelledWithinMs)
    const { code, json } = await rotation.end()
    expect(code).toBe(7)
    expect(json.rewrapped + json.remaining).toBe(total)
    expect((await fleet.census())[to]).toBe(json.rewrapped)

    // A thread that hangs in the module ends only with its process.
    const replaced = async () => {
      const logs = await Promise.all(fleet.nodes.names().map((node) => fleet.nodes.log(node)))
      return logs.join('\n').includes('the module did not answer')
    }
    await fleet.until('no lane is replaced', replaced)
    await fault.heal()
    const ready = async () => (await fleet.cli('verify', '--target', `${to}`)).code === 0
    await fleet.until('the fleet is not ready again', ready, 60_000)
    const rest = await fleet.must('rotate', '--to-version', `${to}`)
    expect(rest).toMatchObject({ outcome: 'completed', rewrapped: json.remaining, remaining: 0 })
    expect(await fleet.verifyRecords()).toEqual({ [to]: total })
  })

  test('stops after one login for each process when the PIN was changed, and completes after a restart', async () => {
    const { from, to, total } = await route(fleet)
    const before = (await fault.log()).length
    const rotation = fleet.start('rotate', '--to-version', `${to}`, '--max-rate', rate)
    await fleet.rewrapped(1)
    await fault.set('pin refused', 'sessions dropped')
    const { code, stdout } = await rotation.end()
    const said = expect.stringContaining('PIN') as string
    expect({ code, stdout }).toMatchObject({ code: 5, stdout: said })
    const refused = (await fault.log())
      .slice(before)
      .filter((call) => call.function === 'C_Login' && call.ckr === 160)
      .map(({ parent }) => parent)
    expect(refused.length).toBeGreaterThan(0)
    expect(new Set(refused).size).toBe(refused.length)

    await fault.heal()
    await Promise.all(
      ['vm-a', 'vm-b'].map(async (node) => {
        await fleet.nodes.stop(node)
        await fleet.nodes.start(node)
      }),
    )
    const versions = ['--from-version', `${from}`, '--to-version', `${to}`]
    await fleet.must('rotate', ...versions)
    expect(await fleet.verifyRecords()).toEqual({ [to]: total })
  })

  test('writes nothing under a key that was replaced under its label and id', async () => {
    const { from, to } = await route(fleet)
    const rotation = fleet.start('rotate', '--to-version', `${to}`, '--max-rate', rate)
    await fleet.rewrapped(1)
    await fleet.must('pause')
    await quiet(fleet)
    const before = await fleet.census()
    await replaceKey(fleet, to)
    await fault.set('handles stale')
    await fleet.must('resume')
    // Each worker detects it by its canary, and hands the work to other workers, of which there are none.
    await fleet.until('nobody noticed the other key', async () => {
      const { nodes } = (await fleet.cli('verify', '--target', `${to}`)).json
      return nodes.every(({ reason }) => reason === 'wrong-key')
    })
    await fleet.cli('cancel')
    const { code } = await rotation.end()
    expect([5, 7]).toContain(code)
    expect(await fleet.census()).toEqual(before)
    expect(Object.keys(before)).toContain(`${from}`)
  })
})

/** Another key with the same label and id, as after an administrator's mistake or a failover. */
async function replaceKey(fleet: Fleet, version: number): Promise<void> {
  const { token, store } = fleet
  if (token === null) throw new Error('the fleet has no token')
  const row = await store.db.collection<{ _id: number }>('kek_versions').findOne({ _id: version })
  const { label, key_id: keyId } = row as unknown as { label: string; key_id: { buffer: Buffer } }
  const id = Buffer.from(keyId.buffer).toString('hex')
  const login = [
    '--module',
    token.modulePath,
    '--token-label',
    token.label,
    '--login',
    '--pin',
    token.pin,
  ]
  const named = ['--label', label, '--id', id]
  await run('pkcs11-tool', [...login, '--delete-object', '--type', 'secrkey', ...named])
  const attributes = ['--key-type', 'AES:32', '--sensitive', '--private']
  await run('pkcs11-tool', [...login, '--keygen', ...attributes, ...named])
}
