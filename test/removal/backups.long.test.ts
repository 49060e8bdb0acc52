import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { BSON, type Document } from 'mongodb'
import { expect, test } from 'vitest'
import { readVersion } from '../../store/kek-versions.ts'
import { onEachProvider } from '../support/each-provider.ts'
import type { Fleet } from '../support/fleet.ts'
import { chainedAudit } from '../support/chained-audit.ts'
import { places } from '../support/fleet-records.ts'

const options = {
  records: 60,
  config: { removal: { backup_window: '0s', undo_window: '1h' } },
}
const later = () => new Date(Date.now() + 3_600_000).toISOString()

onEachProvider('a backup from before a rotation', options, (fleetOf) => {
  test('keeps its version, is restored, and is swept to the active version', async () => {
    const fleet = fleetOf()
    const dump = await dumpRecords(fleet)
    const marked = await fleet.must('backup', 'mark', 'nightly')
    expect(marked).toMatchObject({ name: 'nightly', keepUntil: null, versions: [1] })
    await fleet.must('rotate', '--to-version', '2')
    await fleet.must('backup', 'mark', 'after', '--keep-until', later())
    expect(await fleet.must('backup', 'list')).toMatchObject({
      backups: [
        { name: 'nightly', versions: [1] },
        { name: 'after', versions: [2] },
      ],
    })
    const refused = await fleet.cli('remove', '--version', '1')
    expect({ code: refused.code, failing: failing(refused.json.guards) }).toEqual({
      code: 3,
      failing: ['backups'],
    })

    await restoreRecords(fleet, dump)
    expect(await fleet.must('scan', '--unwrap')).toMatchObject({
      byVersion: { 1: 60 },
      opened: 60,
      failed: [],
    })
    const swept = await fleet.must('rotate', '--from-version', '1', '--to-version', '2')
    expect(swept).toMatchObject({ outcome: 'completed', rewrapped: 60 })
    expect(await fleet.must('scan', '--unwrap')).toMatchObject({ byVersion: { 2: 60 }, opened: 60 })
    expect(await fleet.verifyRecords()).toEqual({ 2: 60 })
    // The second sweep settled after it was taken, so restored envelopes may be in it.
    expect(await fleet.must('backup', 'list')).toMatchObject({
      backups: [{ versions: [1] }, { versions: [1, 2] }],
    })
  })

  test('is refused by the validator while its version is pending removal, until that is undone', async () => {
    const fleet = fleetOf()
    const old = await dumpRecords(fleet)
    for (const name of ['nightly', 'after']) await fleet.must('backup', 'drop', name, '--yes')
    await fleet.must('remove', '--version', '1')
    // Marked within the window, it stops the last look.
    const active = (await readVersion(fleet.store, 1))?.activated_at?.toISOString() ?? ''
    await fleet.must('backup', 'mark', 'late', '--taken-at', active)
    const dry = await fleet.cli('remove', '--version', '1', '--dry-run')
    expect(failing(dry.json.guards)).toEqual(['backups'])
    const [{ collection, field }] = places
    const [record] = old.get(collection) ?? []
    if (record === undefined) throw new Error('no record')
    const under1 = { ...record, [field]: { ...(record[field] as object), kek_version: 1 } }
    const restored = fleet.store.db.collection(collection).replaceOne(idOf(record), under1)
    await expect(restored).rejects.toMatchObject({ code: 121 })
    await fleet.must('remove', '--version', '1', '--undo')
    await fleet.store.db.collection(collection).replaceOne(idOf(record), under1)
    await fleet.store.db.collection(collection).replaceOne(idOf(record), record)
    const entries = await chainedAudit(fleet.store)
    const actions = entries.map(({ action }) => action).filter((each) => each.startsWith('backup-'))
    expect(actions).toEqual([
      'backup-marked',
      'backup-marked',
      'backup-dropped',
      'backup-dropped',
      'backup-marked',
    ])
  })

  test.each([
    [['mark', 'x', '--taken-at', later()], /is in the future/],
    [['mark', 'x', '--keep-until', '2001-01-01T00:00:00Z'], /is in the past/],
    [['mark', 'x', '--taken-at', '2026-03-01'], /a time is written as/],
    [['mark', 'late'], /is marked with other times/],
    [['drop', 'unknown', '--yes'], /no backup "unknown" is marked/],
  ])('backup %o is refused', async (words, message) => {
    const { code, json } = await fleetOf().cli('backup', ...words)
    expect({ code, error: json.error.code }).toEqual({ code: 2, error: 'usage' })
    expect(json.error.message).toMatch(message)
  })
})

const idOf = (record: Document) => ({ _id: record['_id'] as never })

/** Dumps the collections with records as mongodump does, one file of BSON documents each, and reads the files back. */
async function dumpRecords(fleet: Fleet): Promise<Map<string, Document[]>> {
  const dump = new Map<string, Document[]>()
  for (const name of new Set(places.map(({ collection }) => collection))) {
    const file = join(fleet.folder, `${name}.bson`)
    const found = await fleet.store.db.collection(name).find({}, { raw: true }).toArray()
    await writeFile(file, Buffer.concat(found as unknown as Buffer[]))
    dump.set(name, documentsOf(await readFile(file)))
  }
  return dump
}

function documentsOf(bytes: Buffer): Document[] {
  const documents: Document[] = []
  for (let at = 0; at < bytes.length; at += bytes.readInt32LE(at)) {
    documents.push(
      BSON.deserialize(bytes.subarray(at, at + bytes.readInt32LE(at)), { promoteValues: false }),
    )
  }
  return documents
}

/** Like mongorestore without --drop into emptied collections: their UUIDs and indexes stay. */
async function restoreRecords(fleet: Fleet, dump: Map<string, Document[]>): Promise<void> {
  for (const [name, documents] of dump) {
    const collection = fleet.store.db.collection(name)
    await collection.deleteMany({})
    if (documents.length > 0) await collection.insertMany(documents)
  }
}

function failing(guards: readonly { guard: string; ok: boolean }[]): string[] {
  return guards.filter(({ ok }) => !ok).map(({ guard }) => guard)
}
