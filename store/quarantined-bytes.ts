import type { Document, Filter } from 'mongodb'
import type { CollectionConfig } from '../contracts/settings.ts'
import { asInteger } from '../envelope/bson-values.ts'
import { wrapDigest } from '../envelope/wrap-digest.ts'
import { idBytesFromRaw } from '../envelope/record-id.ts'
import { byteSlices } from './byte-slices.ts'
import type { Bound, QuarantineDoc } from './documents.ts'
import { layoutIn, type Layout } from '../envelope/layout.ts'
import { readPage } from './envelope-pages.ts'
import { readSettings } from './kek-settings.ts'
import { keystore } from './keystore.ts'
import { malformedRow, readQuarantineDoc, type QuarantineRow } from './quarantine-documents.ts'
import type { SnapshotOptions } from './snapshot.ts'
import type { Store } from './store.ts'
import { boundedProjection, wrapAt } from './wrap-fields.ts'

/** Quarantine rows, and whether their envelopes are unchanged, byte for byte. */

/** Records per look-up. */
const idsAtMost = 1_000

export async function readQuarantine(
  store: Store,
  filter: Filter<QuarantineDoc>,
  snapshot?: SnapshotOptions,
): Promise<QuarantineRow[]> {
  const documents = await keystore
    .quarantine(store)
    .find<Buffer>(filter, { raw: true, sort: { first_seen: 1, _id: 1 }, ...snapshot })
    .toArray()
  return documents.map(readQuarantineDoc)
}

/** For each row of a version, whether its record still has exactly these bytes under that version. */
export async function areUnchanged(
  store: Store,
  rows: readonly QuarantineRow[],
  snapshot?: SnapshotOptions,
): Promise<boolean[]> {
  const unchanged = new Set<string>()
  if (rows.length === 0) return []
  const collections = (await readSettings(store))?.settings.collections ?? []
  for (const group of groupsOf(rows, collections)) {
    const find = group.byId ? findById : findByWalk
    for (const key of await find(store, group, snapshot)) unchanged.add(key)
  }
  return rows.map((row) => unchanged.has(keyOf(row)))
}

/** For rows of one field and version. A walk over the version finds those whose `_id` cannot be used in a filter. */
interface Group {
  collection: string
  field: string
  layout: Layout
  version: number
  byId: boolean
  rows: QuarantineRow[]
}

function groupsOf(
  rows: readonly QuarantineRow[],
  collections: readonly CollectionConfig[],
): Group[] {
  const groups = new Map<string, Group>()
  for (const row of rows) {
    const { collection, field } = row.doc._id
    const version = row.doc.kek_version
    // An odd envelope: see odd-envelopes.ts.
    if (version === null || row.doc.code === malformedRow) continue
    const byId = row.doc.code !== 'id-unsupported'
    const name = JSON.stringify([collection, field, version, byId])
    const layout = layoutIn(collections, collection, field)
    const group = groups.get(name) ?? { collection, field, layout, version, byId, rows: [] }
    group.rows.push(row)
    groups.set(name, group)
  }
  return [...groups.values()]
}

async function findById(store: Store, group: Group, snapshot?: SnapshotOptions): Promise<string[]> {
  const wanted = new Map(group.rows.map((row) => [row.idBytes.toString('hex'), row]))
  const found: string[] = []
  const bytes = ({ idBytes }: QuarantineRow) => idBytes.length + 16
  for (const slice of byteSlices(group.rows, bytes, { count: idsAtMost })) {
    const ids = slice.map(({ doc }) => doc._id.id)
    const records = await store.db
      .collection(group.collection)
      .find<Buffer>({ _id: { $in: ids } } as Document, {
        projection: boundedProjection(group.layout),
        raw: true,
        ...snapshot,
      })
      .toArray()
    for (const record of records) {
      const row = wanted.get(idBytesFromRaw(record).toString('hex'))
      if (row !== undefined && hasBytes(row, wrapAt(record, group.layout))) found.push(keyOf(row))
    }
  }
  return found
}

async function findByWalk(
  store: Store,
  group: Group,
  snapshot?: SnapshotOptions,
): Promise<string[]> {
  const digests = new Map(group.rows.map((row) => [hex(row.doc.digest.value()), row]))
  const found: string[] = []
  let after: Bound | null = null
  for (let more = true; more;) {
    const page = await readPage(store, {
      collection: group.collection,
      layout: group.layout,
      version: group.version,
      after,
      until: null,
      limit: idsAtMost,
      ...(snapshot === undefined ? {} : { snapshot }),
    })
    for (const { wrap } of page.entries) {
      const row = digests.get(hex(wrapDigest(wrap)))
      if (row !== undefined && hasBytes(row, wrap)) found.push(keyOf(row))
    }
    after = page.entries.at(-1)?.cursor ?? after
    more = page.more
  }
  return found
}

/** The digest covers the version, but a version of 1.5 was found on the walk over 1. */
function hasBytes(row: QuarantineRow, wrap: unknown): boolean {
  const version = (wrap as { kek_version?: unknown } | null)?.kek_version
  return (
    asInteger(version) === row.doc.kek_version && wrapDigest(wrap).equals(row.doc.digest.value())
  )
}

function keyOf({ doc, idBytes }: QuarantineRow): string {
  return JSON.stringify([doc._id.collection, doc._id.field, hex(idBytes)])
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
