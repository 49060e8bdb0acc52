import { expect, test } from 'vitest'
import type { Document } from 'mongodb'
import { workflowIds } from '../../contracts/names.ts'
import type { VersionDoc } from '../../store/documents.ts'
import { readVersion } from '../../store/kek-versions.ts'
import { chainedAudit } from '../support/chained-audit.ts'
import { currentRemoval } from '../../store/removal-requests.ts'
import { onEachProvider } from '../support/each-provider.ts'
import type { CliEnd, Fleet } from '../support/fleet.ts'
import { places } from '../support/fleet-records.ts'
import { slowRotation } from '../support/paused-rotation.ts'
import { secretKeysIn } from '../support/softhsm.ts'

const options = {
  records: 200,
  config: { removal: { backup_window: '0s', undo_window: '10s' } },
}

onEachProvider('the removal of a version', options, (fleetOf, provider) => {
  /** A record as it was under version 1; a delayed application still holds it. */
  let old: Document & { private_key?: unknown }

  test('is refused by each guard, naming it', async () => {
    const fleet = fleetOf()
    const records = fleet.store.db.collection(places[0].collection)
    const found = await records.findOne()
    if (found === null) throw new Error('no record')
    old = found
    expect(await refusedBy(fleet, 1)).toContain('not-active')
    expect((await fleet.cli('remove', '--version', '9')).json.error.code).toBe('version-unknown')

    const { rotation } = await slowRotation(fleet)
    const midway = await refusedBy(fleet, 1)
    for (const guard of ['no-rotation', 'census-zero', 'backup-window'])
      expect(midway).toContain(guard)
    await fleet.must('cancel')
    expect((await rotation.end()).code).toBe(7)
    expect(await refusedBy(fleet, 1)).toEqual(['census-zero', 'backup-window'])
    expect((await fleet.cli('rotate', '--to-version', '2')).code).toBe(0)

    await records.replaceOne(at(fleet, old).id, old)
    expect(await refusedBy(fleet, 1)).toEqual(['census-zero'])
    expect((await fleet.cli('rotate', '--from-version', '1', '--to-version', '2')).code).toBe(0)

    await fleet.nodes.stop('vm-b')
    expect(await refusedBy(fleet, 1)).toEqual(['fleet-past'])
    await fleet.nodes.start('vm-b')
    expect((await readVersion(fleet.store, 1))?.removal).toBeNull()
  })

  test('is protected by a validator in MongoDB until it is undone', async () => {
    const fleet = fleetOf()
    const { id, records } = at(fleet, old)
    const pending = await fleet.must('remove', '--version', '1')
    expect(pending).toMatchObject({ version: 1, state: 'pending-removal' })
    expect(Date.parse(pending.dueAt)).toBeGreaterThan(Date.now() - 60_000)
    const refused = { code: 121 }
    await expect(records.insertOne({ ...old, _id: 'late' as never })).rejects.toMatchObject(refused)
    await expect(records.replaceOne(id, old)).rejects.toMatchObject(refused)
    await expect(
      records.updateOne(id, { $set: { private_key: old.private_key } }),
    ).rejects.toMatchObject(refused)
    await records.updateOne(id, { $set: { other: 'field' } })
    // MongoDB accepts the active version, and a rotation back is refused.
    const now = await records.findOne(id)
    await records.replaceOne(id, now ?? {})
    const back = await fleet.cli('rotate', '--from-version', '2', '--to-version', '1')
    expect({ code: back.code, error: back.json.error.code }).toEqual({
      code: 3,
      error: 'removal-pending',
    })

    const undone = await fleet.must('remove', '--version', '1', '--undo')
    expect(undone).toMatchObject({ version: 1, state: 'deactivated' })
    await records.replaceOne(id, old)
    await records.replaceOne(id, now ?? {})
    await removalIsOver(fleet)
    expect((await readVersion(fleet.store, 1))?.destroyed_at).toBeNull()
    expect((await fleet.cli('remove', '--version', '1', '--undo')).json.error.code).toBe(
      'no-removal',
    )
  })

  test.each([
    { flags: ['--without-fence'], write: {} },
    { flags: [], write: { bypassDocumentValidation: true } },
  ])(
    'checks all guards again after the window, and is withdrawn after a late write (%o)',
    async (late) => {
      const fleet = fleetOf()
      const { id, records } = at(fleet, old)
      const now = await records.findOne(id)
      await fleet.must('remove', '--version', '1', ...late.flags)
      await records.replaceOne(id, old, late.write)
      await removalIsOver(fleet)
      const row = await readVersion(fleet.store, 1)
      expect(row).toMatchObject({ destroyed_at: null, removal: null })
      const entries = await chainedAudit(fleet.store)
      const undone = entries.findLast(({ action }) => action === 'removal-undone')
      expect(JSON.stringify(undone?.details)).toContain('census-zero')
      await records.replaceOne(id, now ?? {})
    },
  )

  test('can be undone without a worker, and its workflow then ends', async () => {
    const fleet = fleetOf()
    const { id, records } = at(fleet, old)
    const now = await records.findOne(id)
    await fleet.must('remove', '--version', '1')
    await Promise.all(['vm-a', 'vm-b'].map((node) => fleet.nodes.stop(node)))
    expect(await fleet.must('remove', '--version', '1', '--undo')).toMatchObject({
      state: 'deactivated',
    })
    await records.replaceOne(id, old)
    await records.replaceOne(id, now ?? {})
    await Promise.all(['vm-a', 'vm-b'].map((node) => fleet.nodes.start(node)))
    await removalIsOver(fleet)
    expect(await readVersion(fleet.store, 1)).toMatchObject({ destroyed_at: null, removal: null })
  })

  test('destroys the version in the end, and its number is never used again', async () => {
    const fleet = fleetOf()
    const keys = async () => (fleet.token === null ? 0 : await secretKeysIn(fleet.token))
    expect(await keys()).toBe(provider === 'pkcs11' ? 2 : 0)
    const looked = await fleet.must('remove', '--version', '1', '--dry-run')
    expect(looked).toMatchObject({ state: 'deactivated' })
    expect(looked.guards).toHaveLength(11)
    expect(await currentRemoval(fleet.store, 1)).toBeNull()
    await fleet.must('remove', '--version', '1')
    const other = await fleet.cli('remove', '--version', '1', '--accept-quarantine')
    expect({ code: other.code, error: other.json.error.code }).toEqual({
      code: 3,
      error: 'removal-pending',
    })
    await fleet.until('it is not destroyed', async () => {
      return (await readVersion(fleet.store, 1))?.destroyed_at !== null
    })
    await removalIsOver(fleet)
    expect(await fleet.must('remove', '--version', '1')).toMatchObject({
      hsmKey: provider === 'pkcs11' ? 'kept' : 'none',
    })
    const { versions } = await fleet.must('status')
    expect(versions).toMatchObject([
      { version: 1, state: 'destroyed' },
      { version: 2, state: 'active' },
    ])
    // The fence stays, so a late write is refused, not lost.
    const { id, records } = at(fleet, old)
    await expect(records.replaceOne(id, old)).rejects.toMatchObject({ code: 121 })
    const init = provider === 'env' ? 'env-init' : 'pkcs11-init'
    for (const command of [
      [init, '--version', '1'],
      ['rotate', '--to-version', '1'],
      ['remove', '--version', '1', '--undo'],
    ]) {
      const end = await fleet.cli(...command)
      expect({ command, code: end.code }).toEqual({ command, code: 3 })
    }
    if (provider === 'pkcs11') await destroysKeyOnly(fleet, keys)
    expect(await fleet.verifyRecords()).toEqual({ 2: 200 })
    expect(await fleet.must('audit', 'verify')).toMatchObject({ ok: true, brokenAt: null })
  })
})

/** A later command destroys the key, but never one that another row names; it distinguishes a missing key from a refused one. */
async function destroysKeyOnly(fleet: Fleet, keys: () => Promise<number>): Promise<void> {
  const remove = async () => await fleet.cli('remove', '--version', '1', '--destroy-hsm-key')
  const versions = fleet.store.db.collection<VersionDoc>('kek_versions')
  const [own, active] = await versions.find().sort({ _id: 1 }).toArray()
  if (own === undefined || active === undefined) throw new Error('no versions')
  const named = ({ label, key_id }: VersionDoc) => ({ label, key_id })
  await versions.dropIndex('label_1_key_id_1')
  // The full name of the active key, a part of it, and a row that marks the version as another keystore's.
  const label = { label: named(active).label }
  for (const edit of [named(active), label, { origin: 'registered' as const }]) {
    await versions.updateOne({ _id: 1 }, { $set: edit })
    const end = await remove()
    expect([3, 5]).toContain(end.code)
    expect(await keys()).toBe(2)
    await versions.updateOne({ _id: 1 }, { $set: { ...named(own), origin: 'generated' } })
  }
  // The command fails until the requested key is destroyed.
  const before = await fleet.cli('remove', '--version', '1')
  expect({ code: before.code, hsmKey: before.json['hsmKey'] }).toEqual({ code: 5, hsmKey: 'kept' })
  expect((await remove()).json).toMatchObject({ state: 'destroyed', hsmKey: 'destroyed' })
  expect(await keys()).toBe(1)
  expect(await fleet.must('remove', '--version', '1')).toMatchObject({ hsmKey: 'destroyed' })
  const entries = await chainedAudit(fleet.store)
  expect(entries.filter(({ action }) => action === 'hsm-key-destroyed')).toHaveLength(1)
  // The key is searched for as long as its destruction is not recorded.
  await versions.updateOne({ _id: 1 }, { $set: { 'removal.hsm_key': null } })
  expect((await remove()).json).toMatchObject({ hsmKey: 'absent' })
}

function at(fleet: Fleet, record: Document) {
  const records = fleet.store.db.collection(places[0].collection)
  return { records, id: { _id: record['_id'] as never } }
}

async function refusedBy(fleet: Fleet, version: number): Promise<string[]> {
  const { code, json }: CliEnd = await fleet.cli('remove', '--version', `${version}`)
  expect(code).toBe(3)
  expect(json.guards).toHaveLength(11)
  return json.guards.filter(({ ok }) => !ok).map(({ guard }) => guard)
}

/** Resolves when the removal's workflow has ended. */
async function removalIsOver(fleet: Fleet): Promise<void> {
  await fleet.temporal.workflow.getHandle(workflowIds.remove(fleet.identity, 1)).result()
}
