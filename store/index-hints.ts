import type { Layout } from '../envelope/layout.ts'
import { listIndexes, servingIndex, wantedIndexes } from './index-faults.ts'
import { isUnauthorized } from './server-errors.ts'
import type { Store } from './store.ts'

/** Names of the usable indexes, by database, collection and wanted name. */
const known = new WeakMap<Store['db'], Map<string, string>>()

/**
 * The name of the index that a walk uses, looked up once. Null if none is usable, or if this user may not list indexes. A key
 * alone is ambiguous: MongoDB allows indexes with the same key that cover different records.
 */
export async function indexHint(
  store: Store,
  collection: string,
  layout: Layout,
  which: 'version' | 'odd',
): Promise<string | null> {
  const names = known.get(store.db) ?? new Map<string, string>()
  known.set(store.db, names)
  const wanted = wantedIndexes(layout)[which]
  const place = `${collection} ${wanted.name}`
  const before = names.get(place)
  if (before !== undefined) return before
  try {
    const name = servingIndex(await listIndexes(store, collection), wanted)?.name ?? null
    if (name !== null) names.set(place, name)
    return name
  } catch (error) {
    if (isUnauthorized(error)) return null
    throw error
  }
}

/** Call it after MongoDB did not find one: it was dropped, hidden or renamed. */
export function forgetHints(store: Store): void {
  known.delete(store.db)
}
