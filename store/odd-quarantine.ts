import { hash } from 'node:crypto'
import { Binary, BSON, type ClientSession } from 'mongodb'
import type { CollectionConfig } from '../contracts/settings.ts'
import { byteSlices } from './byte-slices.ts'
import { sortedOut } from './collections.ts'
import { countOdd, fieldsOf, type FieldPlace } from './field-census.ts'
import { keystore } from './keystore.ts'
import { clearOddRows, firstOdd, oddMany, rowsAtMost, type OddEnvelope } from './odd-envelopes.ts'
import type { PageQuarantine } from './page-step.ts'
import { writeRows } from './quarantine-rows.ts'
import { countOddRows } from './rewrap-ranges.ts'
import type { Store } from './store.ts'
import { inTransaction } from './transaction.ts'

/** Rows per transaction. */
const rowsAtOnce = 500

/** `_id.id` of the row that counts the rest; no record has it. */
const restId = new Binary(Buffer.from(oddMany), 0x80)

export interface OddScan {
  /** Odd envelopes that were found. */
  odd: number
  /** Those new in quarantine: for this rotation, or at all without a rotation. */
  quarantined: number
}

/**
 * Puts every odd envelope of these collections into quarantine, without a KEK version, and deletes the rows of envelopes that
 * are no longer odd. In a rotation the rows count for that rotation; throws `no-rotation` if it is over. Repeating it changes
 * only `attempts`. Lost collections are skipped. `most`: how many envelopes of a field get a row of their own.
 */
export async function quarantineOdd(
  store: Store,
  collections: readonly CollectionConfig[],
  rotation: string | null,
  most = rowsAtMost,
): Promise<OddScan> {
  const look: OddScan = { odd: 0, quarantined: 0 }
  const { kept } = await sortedOut(store, collections)
  for (const place of fieldsOf(kept)) {
    await clearOddRows(store, place, most)
    const odd = await countOdd(store, place)
    look.odd += odd
    if (odd > 0) look.quarantined += await quarantineField(store, place, { odd, rotation, most })
  }
  return look
}

async function quarantineField(
  store: Store,
  place: FieldPlace,
  { odd, rotation, most }: { odd: number; rotation: string | null; most: number },
): Promise<number> {
  let found = 0
  let quarantined = 0
  for await (const some of firstOdd(store, place, most)) {
    found += some.length
    const bytes = ({ id }: PageQuarantine) => 2 * BSON.calculateObjectSize({ id })
    for (const rows of byteSlices(some.map(rowOf), bytes, { count: rowsAtOnce })) {
      quarantined += await write(store, place, rotation, rows)
    }
  }
  const rest = odd - found
  if (rest <= 0) return quarantined
  return quarantined + (await write(store, place, rotation, [restRow(place, rest)]))
}

/** One transaction: the rows, and the rotation's counter if there is one. */
async function write(
  store: Store,
  { collection, field }: FieldPlace,
  rotation: string | null,
  rows: readonly PageQuarantine[],
): Promise<number> {
  return inTransaction(store, async (session: ClientSession) => {
    const place = { collection, field, rotation, version: null }
    const before = rows.some(({ count }) => count !== undefined)
      ? await countBefore(store, session, place)
      : null
    const fresh = await writeRows(store, session, place, rows)
    const quarantined = before === null ? fresh : Math.max(0, (rows[0]?.count ?? 0) - before)
    if (rotation !== null) await countOddRows(store, session, { ...place, rotation }, quarantined)
    return quarantined
  })
}

/** The number that the row of the rest counted for this rotation. */
async function countBefore(
  store: Store,
  session: ClientSession,
  { collection, field, rotation }: { collection: string; field: string; rotation: string | null },
): Promise<number> {
  const _id = { collection, id: restId, field }
  const filter = { _id, ...(rotation === null ? {} : { rotation }) }
  const row = await keystore.quarantine(store).findOne(filter, { session })
  const count: unknown = row?.count
  return typeof count === 'number' && count >= 0 ? count : 0
}

function rowOf({ id, isNamed, digest }: OddEnvelope): PageQuarantine {
  return {
    id,
    digest,
    code: isNamed ? 'malformed' : 'id-unsupported',
    message:
      'it is odd: a part is missing or its version is not a number from 1, so the key that it needs is unknown',
  }
}

function restRow({ collection, field }: FieldPlace, count: number): PageQuarantine {
  return {
    id: restId,
    digest: hash('sha256', oddMany, 'buffer'),
    code: oddMany,
    count,
    message: `${count} more envelopes in "${field}" of "${collection}" are odd`,
  }
}
