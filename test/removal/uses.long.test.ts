import { expect, test } from 'vitest'
import type { Document } from 'mongodb'
import { KeyturnError } from '../../contracts/errors.ts'
import { readVersion } from '../../store/kek-versions.ts'
import { chainedAudit } from '../support/chained-audit.ts'
import { onEachProvider } from '../support/each-provider.ts'
import { envelopeAt, places } from '../support/fleet-records.ts'
import { endWindow } from '../support/removal-window.ts'

/** The window never ends by itself: a test that has done its part moves its end to now. */
const options = {
  records: 40,
  config: { removal: { backup_window: '0s', undo_window: '1h' } },
}
const [{ collection, field }] = places

onEachProvider('a version that is still used', options, (fleetOf) => {
  let old: Document

  test('stops its removal, naming the process and the place', async () => {
    const fleet = fleetOf()
    const record = await fleet.store.db.collection(collection).findOne()
    if (record === null) throw new Error('no record')
    old = record
    await fleet.must('rotate', '--to-version', '2')
    expect(await fleet.must('remove', '--version', '1')).toMatchObject({ uses: [] })
    // An application opens a copy that it has kept for longer than the rotation.
    await fleet.withKeyring(async (keyring) => {
      const opened = await keyring
        .open(envelopeAt(old, field), { collection, field, id: old['_id'] as never })
        .catch((error: unknown) => error)
      expect(opened).toBeInstanceOf(KeyturnError)
      expect(opened).toMatchObject({ code: 'kek-not-loaded' })
    })
    const use = { pid: process.pid, role: 'app', collection, field, count: 1 }
    expect(await fleet.must('status')).toMatchObject({ uses: [{ version: 1, ...use }] })
    const dry = await fleet.cli('remove', '--version', '1', '--dry-run')
    expect(dry).toMatchObject({ code: 3, json: { state: 'pending-removal', uses: [use] } })
    expect(failing(dry.json.guards)).toEqual(['not-used'])
    // Counting and opening by an operator is no use.
    expect((await fleet.cli('scan', '--unwrap')).code).toBe(0)

    await endWindow(fleet, 1)
    expect(await readVersion(fleet.store, 1)).toMatchObject({ removal: null, destroyed_at: null })
    const entries = await chainedAudit(fleet.store)
    expect(entries.findLast(({ action }) => action === 'removal-undone')?.details).toMatchObject({
      reason: 'guard not-used',
    })
    await fleet.withKeyring(async (keyring) => {
      const place = { collection, field, id: old['_id'] as never }
      expect((await keyring.open(envelopeAt(old, field), place)).length).toBeGreaterThan(0)
    })
  })

  test('is not stopped by uses before the request; processes that cannot tell are named', async () => {
    const fleet = fleetOf()
    const hour = { $add: ['$$NOW', 3_600_000] }
    const beats = fleet.store.db.collection<{ _id: string }>('process_heartbeats')
    const other = { node: 'py', pid: 3, role: 'app', current: 2, epoch: 2, loaded: [] }
    const times = { started_at: '$$NOW', at: '$$NOW', lease_until: hour, expires_at: hour }
    await beats.updateOne({ _id: 'py/1' }, [{ $set: { ...other, ...times } }], { upsert: true })
    await fleet.must('remove', '--version', '1')
    const { guards, uses } = await fleet.must('remove', '--version', '1', '--dry-run')
    expect(uses).toEqual([])
    const guard = guards.find((each) => each.guard === 'not-used')
    expect(guard?.detail).toMatch(
      /^version 1 was not used since .*; cannot tell: py \(app, pid 3\)/,
    )
    // It writes the document that the documentation gives, and is heard like a keyring.
    const use = { version: 1, node: 'py', process: '1', collection, field }
    const row = { pid: 3, role: 'app', count: 1, first_at: '$$NOW', last_at: '$$NOW' }
    const kekUses = fleet.store.db.collection<{ _id: object }>('kek_uses')
    await kekUses.updateOne({ _id: use }, [{ $set: row }], { upsert: true })
    expect((await fleet.cli('remove', '--version', '1', '--dry-run')).code).toBe(3)
    await kekUses.deleteOne({ _id: use })
    await endWindow(fleet, 1)
    expect((await readVersion(fleet.store, 1))?.destroyed_at).not.toBeNull()
    expect(await fleet.must('status')).toMatchObject({ uses: [] })
  })
})

function failing(guards: readonly { guard: string; ok: boolean }[]): string[] {
  return guards.filter(({ ok }) => !ok).map(({ guard }) => guard)
}
