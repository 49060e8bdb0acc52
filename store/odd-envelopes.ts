import { hash } from 'node:crypto'
import { BSON, type Document } from 'mongodb'
import { byteSlices } from './byte-slices.ts'
import { throughElection } from './election.ts'
import { isElection } from './server-errors.ts'
import { idOf, namedId } from './named-id.ts'
import { candidatesOf, countOdd, oddNumbers, type FieldPlace } from './field-census.ts'
import { keystore } from './keystore.ts'
import { visibleFields, presenceExpression } from './presence.ts'
import { malformedRow, type QuarantineRow } from './quarantine-documents.ts'
import { readQuarantine } from './quarantined-bytes.ts'
import { rawAt, rawElements } from './raw-bson.ts'
import type { SnapshotOptions } from './snapshot.ts'
import type { Store } from './store.ts'

/** Lists odd envelopes (presence.ts), and checks whether those in quarantine are unchanged. */

export interface OddEnvelope {
  /** As `PageEntry.id`. */
  id: unknown
  idBytes: Buffer
  /** False if `id` is a substitute that matches no record. */
  isNamed: boolean
  /** SHA-256 of the visible fields; long values count by their length. */
  digest: Buffer
}

/** Code of the single row for all odd envelopes without a row of their own. */
export const oddMany = 'odd-many'

/** A field's odd envelopes up to this many get a row each; one row counts the rest. */
export const rowsAtMost = 10_000

/** Values per filter, and records per filter. */
const valuesAtMost = 500
const idsAtMost = 1_000

/** All odd envelopes of a field, each once or twice, in MongoDB's batches. */
export async function* oddEnvelopes(
  store: Store,
  place: FieldPlace,
  snapshot?: SnapshotOptions,
): AsyncGenerator<OddEnvelope[], void> {
  const look = oddStages(place)
  for await (const documents of candidatesOf<Buffer>(store, place, look, {
    raw: true,
    ...snapshot,
  })) {
    yield documents.map(oddEnvelope)
  }
  const numbers = await oddNumbers(store, place, snapshot)
  for (const values of byteSlices(numbers, () => 16, { count: valuesAtMost })) {
    yield* oddMatching(store, place, { [place.layout.version]: { $in: values } }, snapshot)
  }
}

/**
 * The same, each once, and only the first `most`; by default as many as get a row. The walk restarts if an election
 * interrupts it.
 */
export async function* firstOdd(
  store: Store,
  place: FieldPlace,
  most = rowsAtMost,
): AsyncGenerator<OddEnvelope[], void> {
  const seen = new Set<string>()
  const isNew = ({ idBytes }: OddEnvelope) => {
    const key = hash('sha256', idBytes)
    if (seen.has(key) || seen.size >= most) return false
    seen.add(key)
    return true
  }
  let walk = oddEnvelopes(store, place)
  const nextOf = async () => {
    try {
      return await walk.next()
    } catch (error) {
      if (isElection(error)) walk = oddEnvelopes(store, place)
      throw error
    }
  }
  try {
    for (;;) {
      const { done, value } = await throughElection(nextOf, true)
      if (done === true) return
      yield value.filter(isNew)
      if (seen.size >= most) return
    }
  } finally {
    await walk.return()
  }
}

/**
 * How many odd envelopes of a field are in quarantine: those with a row and unchanged since, and those that the common row
 * counts.
 */
export async function countKnownOdd(
  store: Store,
  place: FieldPlace,
  snapshot?: SnapshotOptions,
): Promise<number> {
  const rows = await oddRows(store, place, snapshot)
  const unchanged = await areUnchangedOdd(store, place, rows, snapshot)
  const many = rows.reduce((sum, { doc }) => sum + (doc.code === oddMany ? (doc.count ?? 0) : 0), 0)
  return many + unchanged.filter(Boolean).length
}

/**
 * Deletes the rows of a field's envelopes that were repaired, deleted, or changed into other odd ones. Returns how many.
 * `most`: how many have a row of their own.
 */
export async function clearOddRows(
  store: Store,
  place: FieldPlace,
  most = rowsAtMost,
): Promise<number> {
  const rows = (await oddRows(store, place)).filter(({ doc }) => doc.code !== malformedRow)
  if (rows.length === 0) return 0
  const unchanged = await areUnchangedOdd(store, place, rows)
  const isRestThere = (await countOdd(store, place)) > most
  const gone = rows.filter(({ doc }, index) => {
    return unchanged[index] !== true && !(doc.code === oddMany && isRestThere)
  })
  let cleared = 0
  const bytes = ({ idBytes }: QuarantineRow) => idBytes.length + 256
  for (const slice of byteSlices(gone, bytes, { count: idsAtMost })) {
    // Filtered by the digest that was checked: another scan may have rewritten the row meanwhile.
    const deletions = slice.map(({ doc: { _id, digest } }) => ({
      deleteOne: { filter: { _id, digest } },
    }))
    const { deletedCount } = await keystore
      .quarantine(store)
      .bulkWrite(deletions, { ordered: false })
    cleared += deletedCount
  }
  return cleared
}

async function oddRows(
  store: Store,
  { collection, field }: FieldPlace,
  snapshot?: SnapshotOptions,
): Promise<QuarantineRow[]> {
  const filter = { '_id.collection': collection, '_id.field': field, kek_version: null }
  return readQuarantine(store, filter, snapshot)
}

/** Codes of rows whose record no filter can find. */
const unnamed: ReadonlySet<string> = new Set(['id-unsupported', oddMany, malformedRow])

/** For each row whether its envelope is odd and unchanged. False for the row that counts many. */
async function areUnchangedOdd(
  store: Store,
  place: FieldPlace,
  rows: readonly QuarantineRow[],
  snapshot?: SnapshotOptions,
): Promise<boolean[]> {
  const unchanged = new Set<string>()
  const named = rows.filter(({ doc }) => !unnamed.has(doc.code))
  const bytes = ({ idBytes }: QuarantineRow) => idBytes.length + 16
  for (const slice of byteSlices(named, bytes, { count: idsAtMost })) {
    const filter = { _id: { $in: slice.map(({ doc }) => doc._id.id) } }
    for await (const found of oddMatching(store, place, filter, snapshot)) found.forEach(addFound)
  }
  if (rows.some(({ doc }) => doc.code === 'id-unsupported')) {
    for await (const found of oddEnvelopes(store, place, snapshot)) found.forEach(addFound)
  }
  return rows.map(
    ({ doc }) => doc.code !== malformedRow && unchanged.has(keyOf(doc._id.id, doc.digest.value())),
  )

  function addFound({ id, digest }: OddEnvelope): void {
    unchanged.add(keyOf(id, digest))
  }
}

function keyOf(id: unknown, digest: Uint8Array): string {
  return `${hash('sha256', BSON.serialize({ id }))} ${Buffer.from(digest).toString('hex')}`
}

async function* oddMatching(
  store: Store,
  place: FieldPlace,
  filter: Document,
  snapshot?: SnapshotOptions,
): AsyncGenerator<OddEnvelope[], void> {
  const cursor = store.db
    .collection(place.collection)
    .aggregate<Buffer>([{ $match: filter }, ...oddStages(place)], { raw: true, ...snapshot })
  try {
    while (await cursor.hasNext()) yield cursor.readBufferedDocuments().map(oddEnvelope)
  } finally {
    await cursor.close()
  }
}

function oddStages({ layout }: FieldPlace): Document[] {
  return [
    { $match: { $expr: { $eq: [presenceExpression(layout), 'odd'] } } },
    { $project: { _id: 1, look: visibleFields(layout) } },
  ]
}

function oddEnvelope(document: Buffer): OddEnvelope {
  const look = rawAt(document, 'look')
  const digest = hash('sha256', look?.bytes ?? Buffer.alloc(0), 'buffer')
  return { ...namedId(idOf(rawElements(document))), digest }
}
