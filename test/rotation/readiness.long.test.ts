import { execFile } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, describe, expect, inject, onTestFinished, test } from 'vitest'
import { openFleet } from '../support/fleet.ts'
import type { CliEnd, Fleet } from '../support/fleet.ts'
import { onEachProvider, route } from '../support/each-provider.ts'
import { holdPromote } from '../support/holds.ts'
import { makeToken } from '../support/softhsm.ts'
import type { TestToken } from '../support/softhsm.ts'

const run = promisify(execFile)

const verdictOf = ({ json }: CliEnd, node: string) =>
  json.nodes.filter((one) => one.node === node && !one.ready)

describe.skipIf(inject('softhsm') === null)('two tokens with one label', () => {
  let fleet: Fleet | undefined
  let other: TestToken | undefined
  const copies: string[] = []
  afterAll(async () => {
    await fleet?.close()
    await other?.remove()
    for (const copy of copies) await rm(copy, { recursive: true, force: true })
  })

  test('make verify and rotate name the node whose token lacks the key or has another one', async () => {
    fleet = await openFleet({ provider: 'pkcs11', nodes: ['vm-a'], versions: [1, 2] })
    await fleet.fill(100)
    const { token, env } = fleet
    other = await makeToken(token?.label)
    const config = await fleet.writeConfig('other', {
      kek: {
        pkcs11: {
          module_path: other.modulePath,
          token_label: other.label,
          pin_file: other.pinFile,
        },
      },
    })
    const foreign = { config, env: { SOFTHSM2_CONF: other.conf } }
    expect(env['SOFTHSM2_CONF']).not.toBe(other.conf)
    await fleet.nodes.start('vm-b', foreign)

    const lacking = await fleet.cli('verify', '--target', '2')
    expect(lacking.code).toBe(3)
    expect(verdictOf(lacking, 'vm-b')).toMatchObject([{ reason: 'material-missing' }])
    expect(verdictOf(lacking, 'vm-a')).toEqual([])

    await fleet.nodes.stop('vm-b')
    const rows = await fleet.store.db.collection('kek_versions').find().toArray()
    for (const { label, key_id: id } of rows)
      await keygen(other, label as string, (id as { toString(e: 'hex'): string }).toString('hex'))
    await fleet.nodes.start('vm-b', foreign)
    const wrong = await fleet.cli('verify', '--target', '2')
    expect(wrong.code).toBe(3)
    expect(verdictOf(wrong, 'vm-b')).toMatchObject([{ reason: 'wrong-key' }])
    const rotation = await fleet.cli('rotate', '--to-version', '2')
    expect(rotation.code).toBe(3)
    expect(rotation.json).toMatchObject({ outcome: 'refused', error: { code: 'not-ready' } })
    expect(rotation.json.error.message).toContain('vm-b')
    expect(await fleet.active()).toBe(1)
    expect(await fleet.verifyRecords()).toEqual({ 1: 100 })
    await fleet.nodes.stop('vm-b')
  })

  test('make verify and rotate name the node whose copy of the key may not encrypt', async () => {
    if (fleet?.token === undefined || fleet.token === null) throw new Error('no fleet')
    const { token } = fleet
    const copy = await copyOf(token)
    copies.push(copy.folder)
    await forbidEncryption(token, copy.conf, 2)
    const config = await fleet.writeConfig('copy', {})
    await fleet.nodes.start('vm-b', { config, env: { SOFTHSM2_CONF: copy.conf } })
    // The key opens everything, also the canaries; only a wrap shows the fault.
    expect((await fleet.cli('verify', '--target', '1')).code).toBe(0)
    const verified = await fleet.cli('verify', '--target', '2')
    expect(verified.code).toBe(3)
    expect(verdictOf(verified, 'vm-b')).toMatchObject([{ reason: 'cannot-encrypt' }])
    expect(verdictOf(verified, 'vm-a')).toEqual([])
    const rotation = await fleet.cli('rotate', '--to-version', '2')
    expect(rotation.code).toBe(3)
    expect(rotation.json).toMatchObject({ outcome: 'refused', error: { code: 'not-ready' } })
    expect(await fleet.active()).toBe(1)
  })
})

/** A replica of the HSM: the same token with the same keys, in another folder. */
async function copyOf(token: TestToken): Promise<{ folder: string; conf: string }> {
  const folder = await mkdtemp(`${token.folder}-copy-`)
  await cp(token.folder, folder, { recursive: true })
  const conf = join(folder, 'softhsm2.conf')
  const text = await readFile(conf, 'utf8')
  await writeFile(conf, text.replaceAll(token.folder, folder))
  return { folder, conf }
}

/** Sets CKA_ENCRYPT to false on a version's key, in another process because a module is loaded once per process. */
async function forbidEncryption(token: TestToken, conf: string, version: number): Promise<void> {
  const script = fileURLToPath(new URL('../support/forbid-encryption.mjs', import.meta.url))
  const env = { ...process.env, SOFTHSM2_CONF: conf, MODULE: token.modulePath, PIN: token.pin }
  await run(process.execPath, [script, `keyturn-kek-v${version}`], { env })
}

/** A key with the same label and id but other bytes, as when an administrator "makes the key on each host". */
async function keygen(token: TestToken, label: string, id: string): Promise<void> {
  const args = ['--module', token.modulePath, '--token-label', token.label, '--login']
  await run(
    'pkcs11-tool',
    [
      ...args,
      '--pin',
      token.pin,
      '--keygen',
      '--key-type',
      'aes:32',
      '--label',
      label,
      '--id',
      id,
      '--sensitive',
    ],
    { env: { ...process.env, SOFTHSM2_CONF: token.conf } },
  )
}

onEachProvider('a node that is down', { records: 100 }, (fleetOf) => {
  test('is named by verify and rotate until it is decommissioned, and can be readmitted', async () => {
    const fleet = fleetOf()
    const { from, to, total } = await route(fleet)
    expect((await fleet.cli('verify', '--target', `${to}`)).code).toBe(0)
    await fleet.nodes.kill('vm-b')
    const stale = await fleet.cli('verify', '--target', `${to}`)
    expect(stale.code).toBe(3)
    for (const { reason } of verdictOf(stale, 'vm-b'))
      expect(['stale', 'missing']).toContain(reason)
    expect(verdictOf(stale, 'vm-b')).not.toEqual([])

    const refused = await fleet.cli('rotate', '--to-version', `${to}`)
    expect(refused.code).toBe(3)
    expect(refused.json).toMatchObject({ outcome: 'refused', error: { code: 'not-ready' } })
    expect(await fleet.active()).toBe(from)

    await fleet.until('vm-b counts as live for ever', async () => {
      return (await fleet.cli('nodes', 'decommission', 'vm-b')).code === 0
    })
    expect((await fleet.cli('verify', '--target', `${to}`)).code).toBe(0)
    const rotation = await fleet.cli('rotate', '--to-version', `${to}`)
    expect(rotation.code).toBe(0)
    expect(await fleet.verifyRecords()).toEqual({ [to]: total })

    await expect(fleet.nodes.start('vm-b')).rejects.toThrow(/decommissioned/)
    await fleet.must('nodes', 'expect', 'vm-b')
    const missing = await fleet.cli('verify', '--target', `${from}`)
    expect(missing.code).toBe(3)
    // Its last heartbeat may still exist: MongoDB deletes it up to a minute late.
    for (const { reason } of verdictOf(missing, 'vm-b'))
      expect(['stale', 'missing']).toContain(reason)
    expect(verdictOf(missing, 'vm-b')).not.toEqual([])
    await fleet.nodes.start('vm-b')
    expect((await fleet.cli('verify', '--target', `${from}`)).code).toBe(0)
  })

  test('a process that appears between verify and promote is asked first', async () => {
    const fleet = fleetOf()
    const { to, total } = await route(fleet)
    const held = await holdPromote(fleet)
    onTestFinished(held.release)
    const rotation = fleet.start('rotate', '--to-version', `${to}`)
    await held.reached()
    await fleet.nodes.start('vm-c')
    await held.release()
    const { code, json } = await rotation.end()
    expect(code, JSON.stringify(json)).toBe(0)
    expect(json.rewrapped).toBe(total)
    await fleet.nodes.stop('vm-c')
    await fleet.must('nodes', 'decommission', 'vm-c')
  })
})
