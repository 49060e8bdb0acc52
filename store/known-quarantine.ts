import { wrapDigest } from '../envelope/wrap-digest.ts'
import { idBytes } from '../envelope/record-id.ts'
import { keystore } from './keystore.ts'
import type { PageEntry } from './envelope-pages.ts'
import { readQuarantine } from './quarantined-bytes.ts'
import type { Store } from './store.ts'

interface Scope {
  rotation: string
  collection: string
  field: string
}

/** Whether this rotation has quarantined any envelope of the field so far. */
export async function hasQuarantine(
  store: Store,
  { rotation, collection, field }: Scope,
): Promise<boolean> {
  const filter = { '_id.collection': collection, '_id.field': field, rotation }
  const row = await keystore.quarantine(store).findOne(filter, { projection: { _id: 1 } })
  return row !== null
}

/** The entries without those that this rotation has quarantined with exactly these bytes. */
export async function withoutQuarantined(
  store: Store,
  { rotation, collection, field }: Scope,
  entries: PageEntry[],
): Promise<PageEntry[]> {
  const ids = entries.map(({ id }) => ({ collection, id, field }))
  const rows = await readQuarantine(store, { _id: { $in: ids }, rotation })
  if (rows.length === 0) return entries
  const known = new Map(rows.map((row) => [hex(row.idBytes), hex(row.doc.digest.value())]))
  return entries.filter(({ id, wrap }) => known.get(hex(idBytes(id))) !== hex(wrapDigest(wrap)))
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
