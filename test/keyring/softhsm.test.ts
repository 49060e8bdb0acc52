import { copyFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, inject, onTestFinished, test } from 'vitest'
import { waitUntil } from '../../devstack/wait-until.ts'
import { openProvider } from '../../keyring/open-provider.ts'
import { silentLog } from '../../observability/log.ts'
import { readVersion } from '../../store/kek-versions.ts'
import { makeToken, type TestToken } from '../support/softhsm.ts'
import { openTestFleet, secretPlace, type TestFleet } from './test-fleet.ts'

describe.skipIf(inject('softhsm') === null)('a keyring on a token', () => {
  const before = process.env['SOFTHSM2_CONF']
  afterEach(() => {
    if (before === undefined) delete process.env['SOFTHSM2_CONF']
    else process.env['SOFTHSM2_CONF'] = before
  })

  async function tokenOf(label?: string): Promise<TestToken> {
    const token = await makeToken(label)
    onTestFinished(() => rm(token.folder, { recursive: true, force: true }))
    process.env['SOFTHSM2_CONF'] = token.conf
    return token
  }

  async function rewrite(file: string, pin: string | Buffer): Promise<void> {
    await rm(file)
    await writeFile(file, pin, { mode: 0o400 })
  }

  function fleetOn(token: TestToken): Promise<TestFleet> {
    const { modulePath, label, pinFile } = token
    const pkcs11 = `{ module_path: ${modulePath}, token_label: ${label}, pin_file: ${pinFile}, max_sessions: 2 }`
    return openTestFleet({ kek: `kek: { provider: pkcs11, pkcs11: ${pkcs11} }` })
  }

  test('seals, opens and follows a version that is made while it runs', async () => {
    const fleet = await fleetOn(await tokenOf())
    const keyring = await fleet.keyring()
    const old = await keyring.seal('old', secretPlace)
    expect(old).toMatchObject({ kek_version: 1, provider: 'pkcs11' })
    await fleet.install(2)
    await fleet.activate(2)
    await waitUntil('it never switched', () => keyring.active() === 2, { withinMs: 60_000 })
    const place = { ...secretPlace, id: 'two' }
    const envelopes = await keyring.sealMany([{ plaintext: 'new', place }])
    expect(envelopes[0]?.kek_version).toBe(2)
    const opened = await keyring.openMany([
      { envelope: envelopes[0], place },
      { envelope: old, place: secretPlace },
    ])
    expect(opened.map(String)).toEqual(['new', 'old'])
  })

  test('is degraded with wrong-key on a token that has another key under the same label and id', async () => {
    const token = await tokenOf()
    const fleet = await fleetOn(token)
    const keyring = await fleet.keyring()
    const envelope = await keyring.seal('x', secretPlace)
    await keyring.close()
    const row = await readVersion(fleet.store, 1)
    // A typical mistake with independent tokens: an administrator makes "the same" key on each host.
    const other = await tokenOf(token.label)
    await copyFile(other.pinFile, token.pinFile)
    const provider = await openProvider(fleet.config, fleet.env, silentLog)
    await provider.ceremony.generate(row!.label, Buffer.from(row!.key_id!.value()))
    await provider.close()
    const stranger = await fleet.keyring({ node: 'stranger' })
    await expect(stranger.seal('x', secretPlace)).rejects.toMatchObject({ code: 'wrong-key' })
    await expect(stranger.open(envelope, secretPlace)).rejects.toMatchObject({
      code: 'kek-not-loaded',
    })
    expect(await fleet.heartbeats()).toMatchObject([
      {
        node: 'stranger',
        current: null,
        loaded: [],
        not_loaded: [{ version: 1, reason: 'wrong-key' }],
      },
    ])
  })

  test('opens without its token, rejects each use with the reason, and recovers by itself', async () => {
    const token = await tokenOf()
    const fleet = await fleetOn(token)
    const [there, away] = [join(token.folder, 'tokens'), join(token.folder, 'away')]
    await rename(there, away)
    await mkdir(there, { mode: 0o700 })
    const keyring = await fleet.keyring()
    const missing = `no token with label "${token.label}"`
    const refused = { code: 'token-not-found', message: missing }
    await expect(keyring.seal('x', secretPlace)).rejects.toMatchObject(refused)
    expect(keyring.active()).toBe(1)
    await rm(there, { recursive: true })
    await rename(away, there)
    const sealed = await waitUntil(
      'it never looked again',
      () => keyring.seal('x', secretPlace).catch(() => null),
      { withinMs: 60_000 },
    )
    expect(String(await keyring.open(sealed, secretPlace))).toBe('x')
  })

  test('tries a refused PIN once, and recovers with the next one', async () => {
    const token = await tokenOf()
    const fleet = await fleetOn(token)
    const right = await readFile(token.pinFile)
    await rewrite(token.pinFile, '00000000')
    const keyring = await fleet.keyring()
    const refused = { code: 'pin-refused', message: 'C_Login answered CKR_PIN_INCORRECT (160)' }
    await expect(keyring.seal('x', secretPlace)).rejects.toMatchObject(refused)
    await rewrite(token.pinFile, right)
    const sealed = await waitUntil(
      'it never took the new PIN up',
      () => keyring.seal('x', secretPlace).catch(() => null),
      { withinMs: 60_000 },
    )
    expect(String(await keyring.open(sealed, secretPlace))).toBe('x')
  })

  test('throws immediately when its configuration is wrong', async () => {
    const token = await tokenOf()
    const fleet = await fleetOn(token)
    await rm(token.pinFile)
    await expect(fleet.keyring()).rejects.toMatchObject({ code: 'pin-missing' })
  })
})
