import { Binary } from 'mongodb'
import { dekAad } from '../envelope/aad.ts'
import { idBytes } from '../envelope/record-id.ts'
import { install, place } from './fill-records.ts'
import type { Fixture } from './fixture.ts'
import { openPeerToken, type PeerToken, type PeerWrap } from './peer-token.ts'

/**
 * The peer: the script that an engineer without Keyturn would write. It reads each record, unwraps, wraps, updates it by
 * `_id`, in one loop. It does not check that the new wrap opens, has no compare-and-set and no cursor that survives a crash,
 * and ignores other writers. `one` updates one record after the other, `bulk` a page at once by an unordered bulk write.
 */
export async function peer(
  fixture: Fixture,
  how: 'one' | 'bulk',
  job: { from: number; to: number; envelopes: number; page: number },
): Promise<number> {
  const token = await openPeerToken(fixture)
  try {
    return how === 'one' ? await oneByOne(fixture, token, job) : await inBulk(fixture, token, job)
  } finally {
    token.close()
  }
}

interface Found {
  _id: string
  secret: { dek_iv: Binary; dek_wrapped: Binary }
}

type Job = Parameters<typeof peer>[2]
const { collection, field } = place
const version = `${field}.kek_version`

function found(fixture: Fixture, { from, envelopes }: Job) {
  const records = fixture.store.db.collection<Found>(collection)
  return { records, cursor: records.find({ [version]: from }).limit(envelopes) }
}

async function oneByOne(fixture: Fixture, token: PeerToken, job: Job): Promise<number> {
  const { records, cursor } = found(fixture, job)
  let done = 0
  for await (const record of cursor) {
    await records.updateOne({ _id: record._id }, { $set: rewrapped(token, record, job) })
    done += 1
  }
  return done
}

async function inBulk(fixture: Fixture, token: PeerToken, job: Job): Promise<number> {
  const { records, cursor } = found(fixture, job)
  let done = 0
  let updates: { updateOne: { filter: object; update: object } }[] = []
  const flush = async () => {
    if (updates.length > 0) await records.bulkWrite(updates, { ordered: false })
    done += updates.length
    updates = []
  }
  for await (const record of cursor) {
    const update = { $set: rewrapped(token, record, job) }
    updates.push({ updateOne: { filter: { _id: record._id }, update } })
    if (updates.length === job.page) await flush()
  }
  await flush()
  return done
}

function rewrapped(token: PeerToken, { _id, secret }: Found, { from, to }: Job) {
  const id = idBytes(_id)
  const aad = {
    from: dekAad(install, collection, field, id, from),
    to: dekAad(install, collection, field, id, to),
  }
  const old: PeerWrap = { iv: bytes(secret.dek_iv), wrapped: bytes(secret.dek_wrapped) }
  const { iv, wrapped } = token.rewrap(old, aad, from, to)
  return {
    [version]: to,
    [`${field}.dek_iv`]: new Binary(iv),
    [`${field}.dek_wrapped`]: new Binary(wrapped),
  }
}

function bytes(binary: Binary): Buffer {
  return Buffer.from(binary.value())
}
