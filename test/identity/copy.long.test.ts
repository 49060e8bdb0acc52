import { afterAll, describe, expect, test } from 'vitest'
import { openKeyring } from '../../keyring/index.ts'
import { readInstall } from '../../store/kek-install.ts'
import { keystore } from '../../store/keystore.ts'
import { openStore, type Store } from '../../store/store.ts'
import { inject } from 'vitest'
import { onEachProvider } from '../support/each-provider.ts'
import type { Fleet } from '../support/fleet.ts'
import { freshName } from '../support/fresh.ts'
import { copyDatabase, onCopy } from './copies.ts'

/**
 * A dump of the database, restored beside the original under the same name of the install: the same Temporal, the same
 * token, workers of all roles on both. The tests depend on each other, in their order.
 */
onEachProvider(
  'a copy beside the original',
  { records: 60, nodes: ['vm-a'] },
  (fleetOf, provider) => {
    const database = freshName('copy')
    let copy: Awaited<ReturnType<typeof onCopy>>
    let store: Store

    afterAll(async () => {
      await store.db.dropDatabase()
      await store.close()
    })

    test('its workers take no work and do not affect the original', async () => {
      const fleet = fleetOf()
      await copyDatabase(fleet.store, database)
      store = await openStore({ uri: inject('mongoUri'), database })
      copy = await onCopy(fleet, database)
      await fleet.nodes.start('vm-copy', { config: copy.config })
      expect(await fleet.nodes.log('vm-copy')).toContain('keystore-copied')

      expect(await fleet.must('verify', '--target', '2')).toMatchObject({ ready: true })
      await fleet.must('rotate', '--to-version', '2')
      expect(await fleet.verifyRecords()).toEqual({ 2: 60 })
      expect(await store.db.collection('certificates').countDocuments(underVersion(1))).toBe(30)
      expect((await keystore.active(store).findOne())?.version).toBe(1)
    })

    test('commands that change something are refused, the others show "copied", and keyrings continue', async () => {
      const fleet = fleetOf()
      for (const words of [
        ['rotate', '--to-version', '2'],
        ['verify', '--target', '2'],
        ['remove', '--version', '2'],
        ['remove', '--version', '2', '--undo'],
        [provider === 'env' ? 'env-init' : 'pkcs11-init', '--version', '3'],
        ['nodes', 'expect', 'vm-z'],
        ['policy', 'set', '--every', '90d'],
        ['policy', 'delete'],
        ['quarantine', 'retry'],
        ['pause'],
        ['setup'],
      ]) {
        const { code, json } = await copy.cli(...words)
        expect({ words, code, error: json.error.code }).toEqual({
          words,
          code: 3,
          error: 'keystore-copied',
        })
      }
      for (const words of [['status'], ['nodes', 'list'], ['scan'], ['audit', 'list']]) {
        const { code, json, stderr } = await copy.cli(...words)
        expect({ words, code, copied: json['copied'] }).toEqual({ words, code: 0, copied: true })
        expect(stderr).toContain('warning: this keystore is a copy')
      }
      expect((await fleet.must('status'))['copied']).toBeUndefined()
      await withKeyringOn(fleet, copy.config, async (keyring) => {
        const place = { collection: 'certificates', field: 'private_key', id: 'new' }
        expect((await keyring.open(await keyring.seal('a secret', place), place)).toString()).toBe(
          'a secret',
        )
      })
    })

    test('setup declares it a copy only with the name of its database', async () => {
      const before = await readInstall(store)
      expect((await copy.cli('setup', '--copy')).code).toBe(2)
      expect((await copy.cli('setup', '--copy', '--confirm', fleetOf().install)).code).toBe(2)
      expect((await copy.cli('setup', '--copy', '--moved', '--confirm', database)).code).toBe(2)
      expect(await readInstall(store)).toEqual(before)

      const { code, json } = await copy.cli('setup', '--copy', '--confirm', database)
      expect({ code, keystore: json['keystore'] }).toEqual({ code: 0, keystore: 'copied' })
      const after = await readInstall(store)
      expect(after?.id).not.toBe(before?.id)
      expect(after?.id).toBe(json['id'])
    })

    test('after that it is a separate fleet', async () => {
      const fleet = fleetOf()
      await fleet.until('it polls again', async () => {
        return (await fleet.nodes.log('vm-copy')).includes('polls again')
      })
      // The roster came with the copy.
      expect((await copy.cli('nodes', 'decommission', 'vm-a')).code).toBe(0)
      expect((await copy.cli('verify', '--target', '2')).json).toMatchObject({ ready: true })
      expect((await copy.cli('rotate', '--to-version', '2')).code).toBe(0)
      expect(await store.db.collection('certificates').countDocuments(underVersion(2))).toBe(30)
      expect(await fleet.verifyRecords()).toEqual({ 2: 60 })
      expect((await fleet.must('verify', '--target', '1'))['ready']).toBe(true)
    })

    test('a policy of the copy runs in the copy alone', async () => {
      const fleet = fleetOf()
      await fleet.must('policy', 'set', '--every', '90d')
      expect((await copy.cli('policy', 'show')).json.error.code).toBe('policy-missing')
      expect((await copy.cli('policy', 'set', '--every', '30d')).code).toBe(0)
      expect((await copy.cli('policy', 'run')).code).toBe(0)
      await fleet.until(
        'it does not rotate',
        async () => (await keystore.active(store).findOne())?.version === 3,
        60_000,
      )
      expect(await fleet.must('policy', 'show')).toMatchObject({ policy: { everyDays: 90 } })
      expect(await keystore.versions(fleet.store).countDocuments()).toBe(2)
      expect(await fleet.verifyRecords()).toEqual({ 2: 60 })
      expect((await copy.cli('policy', 'delete')).code).toBe(0)
      await fleet.must('policy', 'delete')
    })

    test.skipIf(provider === 'env')(
      'copy and original each make their own key under the same label',
      async () => {
        const fleet = fleetOf()
        expect((await copy.cli('pkcs11-init', '--version', '3')).code).toBe(0)
        await fleet.installVersion(3)
        const idOf = async (of: Store) => {
          const row = await keystore.versions(of).findOne({ _id: 3 })
          return row?.key_id?.toString('hex') ?? ''
        }
        for (const of of [fleet.store, store]) {
          const install = await readInstall(of)
          expect((await idOf(of)).slice(0, 16)).toBe(install?.id.slice(0, 16))
        }
        expect(await idOf(fleet.store)).not.toBe(await idOf(store))
        expect((await fleet.must('verify', '--target', '3'))['ready']).toBe(true)
        expect((await copy.cli('verify', '--target', '3')).json).toMatchObject({ ready: true })
      },
    )

    test.skipIf(provider === 'env')('the copy never destroys a key of the original', async () => {
      const fleet = fleetOf()
      const { code } = await copy.cli('remove', '--version', '1', '--destroy-hsm-key')
      expect(code).not.toBe(0)
      expect((await fleet.must('verify', '--target', '1'))['ready']).toBe(true)
    })
  },
)

describe('a mistyped database name', () => {
  test('is reported as setup-missing before a worker is asked', async () => {
    const { openFleet } = await import('../support/fleet.ts')
    const fleet = await openFleet({ provider: 'env', nodes: ['vm-a'], versions: [1] })
    try {
      const typo = await onCopy(fleet, `${fleet.install}x`)
      await fleet.nodes.start('vm-typo', { config: typo.config })
      expect(await fleet.nodes.log('vm-typo')).toContain('setup-missing')
      for (const words of [
        ['rotate', '--to-version', '2'],
        ['verify', '--target', '1'],
        ['remove', '--version', '1'],
      ]) {
        const { code, json } = await typo.cli(...words)
        expect({ code, error: json.error.code }).toEqual({ code: 4, error: 'setup-missing' })
      }
      expect((await fleet.must('verify', '--target', '1'))['ready']).toBe(true)
      await fleet.store.client.db(`${fleet.install}x`).dropDatabase()
    } finally {
      await fleet.close()
    }
  })
})

const underVersion = (version: number) => ({ 'private_key.kek_version': version })

async function withKeyringOn(
  fleet: Fleet,
  config: string,
  use: (keyring: Awaited<ReturnType<typeof openKeyring>>) => Promise<void>,
): Promise<void> {
  const env = { ...process.env, ...fleet.env }
  const keyring = await openKeyring({ config, node: freshName('app'), ephemeral: true, env })
  try {
    await use(keyring)
  } finally {
    await keyring.close()
  }
}
