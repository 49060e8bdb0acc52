import { expect, test } from 'vitest'
import { queues, workflowIds, workflowTypes } from '../../contracts/names.ts'
import { readInstall } from '../../store/kek-install.ts'
import { onEachProvider } from '../support/each-provider.ts'
import { dump } from './copies.ts'

const place = { collection: 'certificates', field: 'private_key', id: 'from an application' }

/** The database is restored to an older state while the fleet runs. */
onEachProvider('a restore in place', { records: 40, nodes: ['vm-a'] }, (fleetOf, provider) => {
  test('from before a rotation: a process with a newer epoch does not wrap until the restore is declared', async () => {
    const fleet = fleetOf()
    const before = await dump(fleet.store, 'same')
    await fleet.must('rotate', '--to-version', '2')
    await fleet.withKeyring(async (keyring) => {
      const sealed = await keyring.seal('a secret', place)
      await before.restore()
      await fleet.until('the process does not see it', async () => {
        const error: unknown = await keyring.seal('another', place).catch((cause: unknown) => cause)
        return (error as { code?: string }).code === 'keystore-older'
      })
      expect((await keyring.open(sealed, place)).toString()).toBe('a secret')
      const refused = await fleet.cli('verify', '--target', '2')
      expect(refused.code).toBe(3)
      const reasons = refused.json.nodes.map(({ reason }) => reason)
      expect(reasons).toContain('keystore-older')
      // Version 2 was never active in this state, so only this guard refuses its removal.
      const removal = await fleet.cli('remove', '--version', '2')
      expect(removal).toMatchObject({ code: 3, json: { error: { code: 'keystore-older' } } })

      const { code, json } = await fleet.cli('setup', '--restored', '--confirm', fleet.install)
      expect({ code, unopened: unopenedOf(json) }).toEqual({ code: 0, unopened: [] })
      await fleet.until('it does not wrap again', async () => {
        const again = await keyring.seal('again', place).catch(() => null)
        return again?.kek_version === 1
      })
    })
    await fleet.must('rotate', '--to-version', '2')
    expect(await fleet.verifyRecords()).toEqual({ 2: 40 })
  })

  test('from before a removal, into new collections: setup names the version that no longer opens', async () => {
    const fleet = fleetOf()
    const before = await dump(fleet.store, 'new')
    const destroying = provider === 'pkcs11' ? ['--destroy-hsm-key'] : []
    await fleet.must('remove', '--version', '1', ...destroying)
    await before.restore()
    await fleet.until('nobody notices', async () => {
      return (await fleet.nodes.log('vm-a')).includes('degraded: keystore-copied')
    })
    expect((await fleet.cli('rotate', '--to-version', '1')).json.error.code).toBe('keystore-copied')

    const { code, json } = await fleet.cli('setup', '--restored', '--confirm', fleet.install)
    expect({ code, unopened: unopenedOf(json) }).toEqual({
      code: 0,
      unopened: provider === 'pkcs11' ? [1] : [],
    })
    await fleet.until('it does not poll again', async () => {
      const log = await fleet.nodes.log('vm-a')
      return log.lastIndexOf('polls again') > log.lastIndexOf('degraded: keystore-copied')
    })
    expect((await fleet.must('verify', '--target', '2'))['ready']).toBe(true)
    expect(await fleet.verifyRecords()).toEqual({ 2: 40 })
  })

  test('foreign tasks stop a worker on that queue, but not forever', async () => {
    const fleet = fleetOf()
    const install = await readInstall(fleet.store)
    if (install === null) throw new Error('there is no keystore')
    const handle = await fleet.temporal.workflow.start(workflowTypes.verify, {
      workflowId: workflowIds.verify(install, 99),
      taskQueue: queues.control(install),
      args: [{ install: { name: install.name, id: install.id }, task: 'f'.repeat(32), target: 2 }],
    })
    await fleet.until('nobody meets it', async () => {
      return (await fleet.nodes.log('vm-a')).includes('degraded: foreign-task')
    })
    await handle.terminate()
    await fleet.until('it does not poll again', async () => {
      const log = await fleet.nodes.log('vm-a')
      return log.lastIndexOf('polls again') > log.lastIndexOf('degraded: foreign-task')
    })
    expect((await fleet.must('verify', '--target', '2'))['ready']).toBe(true)
  })
})

function unopenedOf(json: Readonly<Record<string, unknown>>): number[] {
  const canaries = json['canaries'] as { version: number; error: object | null }[]
  return canaries.filter(({ error }) => error !== null).map(({ version }) => version)
}
