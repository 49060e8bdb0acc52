import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { findServer } from '../../devstack/servers/find-server.ts'
import { startTemporalServer, type TemporalServer } from '../../devstack/temporal-server.ts'
import type { VersionDoc } from '../../store/documents.ts'
import { readActive } from '../../store/kek-active.ts'
import { readInstall } from '../../store/kek-install.ts'
import { readVersion } from '../../store/kek-versions.ts'
import { openStore, type Store } from '../../store/store.ts'
import { openFleet, type CliEnd, type Fleet } from '../support/fleet.ts'
import { freshName } from '../support/fresh.ts'
import { copyDatabase } from './copies.ts'

/**
 * A staging system: a dump of the database, with its own Temporal and the same token. Only the keystore tells the two
 * apart, and a key destroyed in the token is gone for both.
 */
describe.skipIf(inject('softhsm') === null)('a copy with a Temporal of its own', () => {
  const database = freshName('apart')
  let folder: string
  let temporal: TemporalServer
  let fleet: Fleet
  let store: Store
  let cli: (...args: readonly string[]) => Promise<CliEnd>
  /** The rows as they are in the original. */
  let rows: VersionDoc[]

  beforeAll(async () => {
    folder = await mkdtemp(join(process.cwd(), '.keyturn', 'apart-'))
    const { path } = await findServer('temporal', { print: console.error })
    temporal = await startTemporalServer({ path, folder, ui: false })
    fleet = await openFleet({ provider: 'pkcs11', nodes: ['vm-a'] })
    await fleet.fill(20)
    await fleet.must('rotate', '--to-version', '2')
    await copyDatabase(fleet.store, database)
    store = await openStore({ uri: inject('mongoUri'), database })
    rows = await versionsOf(store).find().toArray()
    const changes = { mongodb: { database }, temporal: { address: temporal.address } }
    const config = await fleet.writeConfig(database, changes)
    cli = (...args) => fleet.cli('--config', config, ...args)
    await fleet.nodes.start('vm-copy', { config })
  })
  afterAll(async () => {
    await fleet.close()
    await store.db.dropDatabase()
    await store.close()
    await temporal.stop()
    await rm(folder, { recursive: true, force: true })
  })

  const versionsOf = (of: Store) => of.db.collection<VersionDoc>('kek_versions')
  const removeKey = (version: number) => ['remove', '--version', `${version}`, '--destroy-hsm-key']

  async function originalsAreThere(...versions: number[]): Promise<void> {
    for (const version of versions) {
      expect((await fleet.must('verify', '--target', `${version}`))['ready']).toBe(true)
    }
    expect(await fleet.verifyRecords()).toEqual({ 2: 20 })
  }

  test('destroys nothing before setup declares it a copy', async () => {
    for (const words of [removeKey(1), ['rotate', '--to-version', '1'], ['setup']]) {
      const { code, json } = await cli(...words)
      expect({ words, code, error: json.error.code }).toEqual({
        words,
        code: 3,
        error: 'keystore-copied',
      })
    }
    expect((await cli('remove', '--version', '1', '--dry-run')).json['copied']).toBe(true)
    await originalsAreThere(1)
  })

  test('destroys no key of the original afterwards, not even for a version that it removed', async () => {
    expect((await cli('setup', '--copy', '--confirm', database)).code).toBe(0)
    expect((await cli('setup')).code).toBe(0)
    await fleet.until('it does not poll', async () => {
      return (await fleet.nodes.log('vm-copy')).includes('polls again')
    })
    expect((await cli('nodes', 'decommission', 'vm-a')).code).toBe(0)
    expect((await cli('verify', '--target', '1')).json).toMatchObject({ ready: true })
    for (const words of [removeKey(1), [...removeKey(1), '--dry-run']]) {
      const { code, json } = await cli(...words)
      expect({ words, code, error: json.error.code }).toEqual({
        words,
        code: 3,
        error: 'removal-refused',
      })
      expect(json.error.message).toContain('came with a copy')
    }
    const removed = await cli('remove', '--version', '1')
    expect(removed.json).toMatchObject({ state: 'destroyed', hsmKey: 'kept' })
    expect(removed.stderr).not.toContain('--destroy-hsm-key')
    expect((await cli(...removeKey(1))).code).toBe(3)
    await originalsAreThere(1)
  })

  test('destroys no key of the original after rows of the original were restored into it', async () => {
    const own = await readVersion(store, 1)
    const [first] = rows
    if (own === null || first === undefined) throw new Error('no version')
    const { removal, destroyed_at } = own
    await versionsOf(store).replaceOne({ _id: 1 }, { ...first, removal, destroyed_at })
    const { code, json } = await cli(...removeKey(1))
    expect({ code, error: json.error.code }).toEqual({ code: 3, error: 'removal-refused' })
    await originalsAreThere(1)
  })

  test('has another key under the same version number, and each keystore destroys only its own', async () => {
    expect((await cli('pkcs11-init', '--version', '3')).code).toBe(0)
    await fleet.installVersion(3)
    const ids = await Promise.all(
      [store, fleet.store].map(async (of) => {
        const { key_id: keyId } = (await readVersion(of, 3)) ?? {}
        return [keyId?.toString('hex').slice(0, 16), (await readInstall(of))?.id.slice(0, 16)]
      }),
    )
    for (const [key, install] of ids) expect(key).toBe(install)
    expect(ids[0]?.[0]).not.toBe(ids[1]?.[0])
    expect((await cli(...removeKey(3))).json).toMatchObject({
      state: 'destroyed',
      hsmKey: 'destroyed',
    })
    await originalsAreThere(1, 3)
  })

  test('runs its policy: the key is made and rotated to in the copy only', async () => {
    expect((await cli('policy', 'set', '--every', '30d')).code).toBe(0)
    expect((await cli('policy', 'run')).code).toBe(0)
    await fleet.until(
      'it does not rotate',
      async () => (await readActive(store))?.version === 4,
      120_000,
    )
    expect((await readVersion(store, 4))?.key_id?.toString('hex').slice(0, 16)).toBe(
      (await readInstall(store))?.id.slice(0, 16),
    )
    expect((await cli('policy', 'delete')).code).toBe(0)
    expect(await readVersion(fleet.store, 4)).toBeNull()
    expect((await fleet.cli('policy', 'show')).json.error.code).toBe('policy-missing')
    await originalsAreThere(1, 3)
  })
})
