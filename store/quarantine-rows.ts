import { Binary, BSON, type ClientSession, type Document } from 'mongodb'
import { clipped } from '../contracts/clipped.ts'
import { byteSlices } from './byte-slices.ts'
import type { QuarantineDoc } from './documents.ts'
import { keystore } from './keystore.ts'
import type { PageQuarantine } from './page-step.ts'
import { countOr } from './stored-counts.ts'
import type { Store } from './store.ts'

/** Where the rows belong. */
export interface RowPlace {
  collection: string
  field: string
  /** Null: from a scan for odd envelopes, not a rotation. An existing row keeps its rotation. */
  rotation: string | null
  /** Null for odd envelopes, which have no version. */
  version: number | null
}

/** Rows per command. */
const rowsAtMost = 1_000

/** Writes rows in the caller's transaction. Returns how many of them are new for this rotation. */
export async function writeRows(
  store: Store,
  session: ClientSession,
  place: RowPlace,
  rows: readonly PageQuarantine[],
): Promise<number> {
  let fresh = 0
  for (const slice of byteSlices(rows, rowBytes, { count: rowsAtMost })) {
    fresh += await writeSlice(store, session, place, slice)
  }
  return fresh
}

async function writeSlice(
  store: Store,
  session: ClientSession,
  place: RowPlace,
  slice: readonly PageQuarantine[],
): Promise<number> {
  const { collection, field, rotation } = place
  const rows = slice.map((row) => ({ row, _id: { collection, id: row.id, field } }))
  const quarantine = keystore.quarantine(store)
  const ids = rows.map(({ _id }) => _id)
  const known = await quarantine.countDocuments(
    { _id: { $in: ids }, ...(rotation === null ? {} : { rotation }) },
    { session },
  )
  await quarantine.bulkWrite(
    rows.map(({ row, _id }) => ({
      updateOne: {
        filter: { _id },
        update: [{ $set: rowFields(place, row) }] as Document[],
        upsert: true,
      },
    })),
    { session, ordered: false },
  )
  return rows.length - known
}

function rowFields({ rotation, version }: RowPlace, row: PageQuarantine): Document {
  const fields: Pick<QuarantineDoc, 'kek_version' | 'digest'> = {
    kek_version: version,
    digest: new Binary(row.digest),
  }
  return {
    ...fields,
    code: { $literal: row.code },
    message: { $literal: clipped(row.message, longestMessage) },
    rotation: rotation === null ? textOr('$rotation') : { $literal: rotation },
    first_seen: { $cond: [{ $eq: [{ $type: '$first_seen' }, 'date'] }, '$first_seen', '$$NOW'] },
    attempts: { $add: [countOr('$attempts', 0), 1] },
    count: row.count === undefined ? '$$REMOVE' : { $literal: row.count },
  }
}

/** The value there, if it is a string. */
function textOr(member: string): Document {
  return { $cond: [{ $eq: [{ $type: member }, 'string'] }, member, null] }
}

/** A row holds only the `_id` of its record, so it always fits into a document. */
const longestMessage = 500

/** Its `_id` counts twice, for the look-up and the write. */
function rowBytes({ id }: PageQuarantine): number {
  return 2 * BSON.calculateObjectSize({ id }) + 1_024
}
