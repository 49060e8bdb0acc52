import { copyFile, rm } from 'node:fs/promises'
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
    await waitUntil('it never switched', () => keyring.active() === 2, { withinMs: 15_000 })
    const place = { ...secretPlace, id: 'two' }
    const envelopes = await keyring.sealMany([{ plaintext: 'new', place }])
    expect(envelopes[0]?.kek_version).toBe(2)
    const opened = await keyring.openMany([
      { envelope: envelopes[0], place },
      { envelope: old, place: secretPlace },
    ])
    expect(opened.map(String)).toEqual(['new', 'old'])
  })

  test('on another token has another key under the same label and id: it is degraded, and says wrong-key', async () => {
    const token = await tokenOf()
    const fleet = await fleetOn(token)
    const keyring = await fleet.keyring()
    const envelope = await keyring.seal('x', secretPlace)
    await keyring.close()
    const row = await readVersion(fleet.store, 1)
    // The mistake of independent tokens: an administrator made "the same" key on each host.
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
        ...{ node: 'stranger', current: null, loaded: [] },
        not_loaded: [{ version: 1, reason: 'wrong-key' }],
      },
    ])
  })
})
