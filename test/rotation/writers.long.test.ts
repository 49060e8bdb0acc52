import type { Document, WithId } from 'mongodb'
import { expect, test } from 'vitest'
import type { Keyring } from '../../keyring/index.ts'
import { runningRotation } from '../../store/rotations.ts'
import { onEachProvider } from '../support/each-provider.ts'
import type { Fleet } from '../support/fleet.ts'
import { digestOf, documentOf, newPlaintext, places } from '../support/fleet-records.ts'
import type { RecordPlace } from '../support/fleet-records.ts'
import { freshName } from '../support/fresh.ts'
import { slowRotation } from '../support/paused-rotation.ts'

/** Concurrent writers, each with its own records, like sessions of one application. */
const writers = 4

onEachProvider('applications that write during a rotation', { records: 1_500 }, (fleetOf) => {
  test('lose no insert, update, replacement by an old document, or delete', async () => {
    const fleet = fleetOf()
    const done = { inserts: 0, updates: 0, writeBacks: 0, deletes: 0 }
    await fleet.withKeyring(async (keyring) => {
      // All copies are read before the first writer changes a record: the parts must not overlap.
      const parts = await Promise.all(Array.from({ length: writers }, (_, at) => partOf(fleet, at)))
      const { from, to, total, rotation } = await slowRotation(fleet)
      const stop = new AbortController()
      const all = parts.map((part) => write(fleet, keyring, part, done, stop.signal))
      await fleet.must('rate', '300')
      await fleet.until('the sweep does not end, or the writers do not write', async () => {
        const isSwept = (await runningRotation(fleet.store))?.phase !== 'rewrap'
        return isSwept && Object.values(done).every((times) => times > 10)
      })
      stop.abort()
      await Promise.all(all)
      const { code, json, stderr } = await rotation.end()
      expect({ code, stderr }).toMatchObject({ code: 0 })
      expect(json).toMatchObject({ outcome: 'completed', remaining: 0, quarantined: 0 })
      // Each envelope of the start was processed, or updated or deleted before.
      const others = done.updates + done.deletes
      expect(json.rewrapped + json.superseded).toBeGreaterThanOrEqual(total - others)
      expect((await fleet.census())[from]).toBeUndefined()
      expect(await fleet.verifyRecords()).toEqual({ [to]: fleet.records.book.size })
    })
  })
})

/** One writer's records before they were re-wrapped: it writes these old copies back. */
interface Part {
  place: RecordPlace
  mine: WithId<Document>[]
}

async function partOf(fleet: Fleet, at: number): Promise<Part> {
  const place: RecordPlace = places[at % 2] ?? places[0]
  const records = await fleet.store.db
    .collection(place.collection)
    .find()
    .sort({ _id: 1 })
    .toArray()
  return { place, mine: records.filter((_, index) => index % 2 === at >> 1) }
}

async function write(
  fleet: Fleet,
  keyring: Keyring,
  { place, mine }: Part,
  done: { inserts: number; updates: number; writeBacks: number; deletes: number },
  stop: AbortSignal,
): Promise<void> {
  const records = fleet.store.db.collection(place.collection)
  const seal = async (id: unknown) => {
    const plaintext = newPlaintext()
    const envelope = await keyring.seal(plaintext, { ...place, id })
    const data = digestOf(envelope.iv, envelope.ciphertext)
    fleet.records.book.set(fleet.records.keyOf(place, id), { plaintext: digestOf(plaintext), data })
    return envelope
  }
  for (let at = 0; !stop.aborted && at + 3 < mine.length; at += 3) {
    const [updated, writtenBack, deleted] = mine.slice(at, at + 3)
    if (updated === undefined || writtenBack === undefined || deleted === undefined) return
    const id = freshName('new')
    await records.insertOne(documentOf(place, id, await seal(id)))
    done.inserts += 1
    const envelope = await seal(updated._id)
    await records.updateOne({ _id: updated._id }, { $set: { [place.field]: envelope } })
    done.updates += 1
    await records.replaceOne({ _id: writtenBack._id }, { ...writtenBack, seen: at })
    done.writeBacks += 1
    if (at % 2 === 0) {
      await records.deleteOne({ _id: deleted._id })
      fleet.records.book.delete(fleet.records.keyOf(place, deleted._id))
      done.deletes += 1
    }
  }
}
