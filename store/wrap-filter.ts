import { Binary, type Document } from 'mongodb'
import type { Layout } from '../envelope/layout.ts'
import type { Store } from './store.ts'

/** An envelope as it was read: its record, version and wrapped DEK. */
export interface FoundWrap {
  /** `PageEntry.id`. */
  id: unknown
  version: number
  /** A string if it is stored as one. */
  wrapped: Uint8Array | string
}

/** Matches the record while its envelope has this version and this wrapped DEK. */
export function wrapFilter(layout: Layout, { id, version, wrapped }: FoundWrap): Document {
  return {
    _id: idEquals(id),
    [layout.version]: version,
    [layout.wrapped]: typeof wrapped === 'string' ? wrapped : new Binary(wrapped),
  }
}

/** A sub-document whose first key begins with `$` would be read as an operator. */
export function idEquals(id: unknown): unknown {
  return id instanceof Map ? { $eq: id } : id
}

/** Whether the filter of a page's update finds the record. */
export async function hasWrap(
  store: Store,
  { collection, layout }: { collection: string; layout: Layout },
  found: FoundWrap,
): Promise<boolean> {
  const records = store.db.collection(collection)
  const record = await records.findOne(wrapFilter(layout, found), { projection: { _id: 1 } })
  return record !== null
}
