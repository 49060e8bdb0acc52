import { Binary, type Document } from 'mongodb'
import type { CheckMode } from '../contracts/settings.ts'
import { dekAad } from '../envelope/aad.ts'
import { idBytes } from '../envelope/record-id.ts'
import type { KekProvider } from '../providers/provider.ts'
import type { Store } from '../store/store.ts'
import { install, place } from './fill-records.ts'

/**
 * The best that the machine can do: the same reads, token calls and transactions as a rotation, with the product's lanes
 * and nothing else. It has no Temporal, attempt filter, lease or quarantine, and string ids only. It shares no code with
 * sweep/, so that the ratio shows everything that Keyturn adds there.
 */
export interface BareLoop {
  store: Store
  provider: KekProvider
  from: number
  to: number
  page: number
  /** Ranges in parallel; three were fastest on two cores. */
  shards: number
  check: CheckMode
}

interface Found {
  _id: string
  secret: { dek_iv: Binary; dek_wrapped: Binary }
}

const { collection, field } = place
const version = `${field}.kek_version`

/** Returns how many envelopes were re-wrapped. */
export async function bareLoop(loop: BareLoop): Promise<number> {
  const bounds = await cut(loop)
  const done = await Promise.all(
    bounds.map((begin, index) => sweep(loop, index, begin, bounds[index + 1] ?? null)),
  )
  return done.reduce((sum, each) => sum + each, 0)
}

/** The first `_id` of each range. */
async function cut({ store, from, shards }: BareLoop): Promise<string[]> {
  const records = store.db.collection<Found>(collection)
  const total = await records.countDocuments({ [version]: from })
  const size = Math.max(1, Math.ceil(total / shards))
  const bounds: string[] = []
  for (let skip = 0; skip < total; skip += size) {
    const [first] = await records
      .find({ [version]: from }, { projection: { _id: 1 } })
      .sort({ _id: 1 })
      .skip(skip)
      .limit(1)
      .toArray()
    if (first !== undefined) bounds.push(first._id)
  }
  return bounds
}

/** While the token works on one page, the next is read and the previous is written. */
async function sweep(
  loop: BareLoop,
  range: number,
  begin: string,
  end: string | null,
): Promise<number> {
  const { provider, from, to, check } = loop
  let done = 0
  let writing: Promise<void> = Promise.resolve()
  let reading = readPage(loop, { $gte: begin }, end)
  for (;;) {
    const found = await reading
    const last = found.at(-1)
    if (last === undefined) break
    reading = readPage(loop, { $gt: last._id }, end)
    const items = found.map(({ _id, secret }) => {
      const id = idBytes(_id)
      const aad = (number: number) => dekAad(install, collection, field, id, number)
      const [iv, wrapped] = [bytes(secret.dek_iv), bytes(secret.dek_wrapped)]
      return { iv, wrapped, aadFrom: aad(from), aadTo: aad(to) }
    })
    const { outcomes } = await provider.rewrap({ from, to, check, items })
    await writing
    const updates = found.map(({ _id, secret }, index) => {
      const outcome = outcomes[index]
      if (outcome?.ok !== true) throw new Error(`the envelope of ${_id} does not open`)
      return { updateOne: updateOf(_id, secret, outcome, loop) }
    })
    writing = write(loop.store, range, last._id, updates)
    done += found.length
  }
  await writing
  return done
}

function readPage(
  { store, from, page }: BareLoop,
  behind: Document,
  end: string | null,
): Promise<Found[]> {
  const range = { ...behind, ...(end === null ? {} : { $lt: end }) }
  const filter: Document = { [version]: from, _id: range }
  const projection = { [`${field}.dek_iv`]: 1, [`${field}.dek_wrapped`]: 1 }
  return store.db
    .collection<Found>(collection)
    .find(filter, { projection, hint: { [version]: 1, _id: 1 }, batchSize: page + 1 })
    .sort({ _id: 1 })
    .limit(page)
    .toArray()
}

function updateOf(
  _id: string,
  { dek_wrapped }: Found['secret'],
  outcome: { iv: Buffer; wrapped: Buffer },
  { from, to, provider }: BareLoop,
) {
  return {
    filter: { _id, [version]: from, [`${field}.dek_wrapped`]: dek_wrapped },
    update: {
      $set: {
        [version]: to,
        [`${field}.provider`]: provider.name,
        [`${field}.dek_iv`]: new Binary(outcome.iv),
        [`${field}.dek_wrapped`]: new Binary(outcome.wrapped),
      },
    },
  }
}

/** Writes a page in one transaction, together with a cursor document. */
export async function write(
  store: Store,
  range: number,
  cursor: string,
  updates: { updateOne: { filter: Document; update: Document } }[],
): Promise<void> {
  await store.client.withSession((session) =>
    session.withTransaction(async () => {
      await store.db
        .collection<{ _id: number }>('bench_cursors')
        .updateOne({ _id: range }, { $set: { cursor } }, { session, upsert: true })
      await store.db.collection(collection).bulkWrite(updates, { session, ordered: false })
    }),
  )
}

function bytes(binary: Binary): Buffer {
  return Buffer.from(binary.buffer.buffer, binary.buffer.byteOffset, binary.length())
}
