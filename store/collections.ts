import { Binary, type CollectionInfo } from 'mongodb'
import { KeyturnError } from '../contracts/errors.ts'
import type { CollectionConfig } from '../contracts/settings.ts'
import { isUnauthorized } from './server-errors.ts'
import type { Store } from './store.ts'

const shapeHint =
  'envelopes stand in ordinary collections: move them, and name the new collection in keyturn.yaml'

/** MongoDB's information about the database's collections, by name. */
export async function collectionInfos(store: Store): Promise<Map<string, CollectionInfo>> {
  const infos = await store.db.listCollections().toArray()
  return new Map(infos.map((info) => [info.name, info as CollectionInfo]))
}

/** Why a rotation cannot walk or update this collection; null if it can. */
export function whyNotSwept({ type, options }: CollectionInfo): string | null {
  if (type !== 'collection') return `is a ${type === 'timeseries' ? 'time series' : 'view'}`
  const { capped, timeseries, encryptedFields } = options ?? {}
  if (capped === true) return 'is capped: mongodb lets no document of it grow or be replaced'
  if (timeseries !== undefined) return 'is a time series'
  if (encryptedFields !== undefined) return 'has queryable encryption'
  return null
}

/** Throws `unsupported-shape` for collections that cannot be swept. `setup` creates missing ones. */
export async function checkShapes(
  store: Store,
  collections: readonly CollectionConfig[],
): Promise<void> {
  const infos = await collectionInfos(store)
  for (const { name } of collections) {
    const info = infos.get(name)
    const why = info === undefined ? null : whyNotSwept(info)
    if (why === null) continue
    throw lostError({ code: 'unsupported-shape', message: `collection "${name}" ${why}` })
  }
}

/** What happened to a recorded collection. */
export interface LostCollection {
  name: string
  code: 'collection-missing' | 'collection-replaced' | 'unsupported-shape'
  message: string
}

/**
 * Recorded collections that are missing, renamed, recreated since `setup` recorded them, or cannot be swept. Their envelopes
 * were not counted or cannot be reached, so a count proves nothing. A value that this user may not read, or that a mongos
 * does not report, is not a loss.
 */
export async function lostCollections(
  store: Store,
  collections: readonly CollectionConfig[],
): Promise<LostCollection[]> {
  const infos = await readableInfos(store)
  if (infos === null) return []
  return collections.flatMap((collection) => {
    const lost = lossOf(collection, infos.get(collection.name))
    return lost === null ? [] : [lost]
  })
}

function lossOf(
  { name, uuid }: CollectionConfig,
  info: CollectionInfo | undefined,
): LostCollection | null {
  const lost = (code: LostCollection['code'], message: string) => ({ name, code, message })
  if (info === undefined) return lost('collection-missing', `collection "${name}" is missing`)
  const why = whyNotSwept(info)
  const today = uuidOf(info)
  if (info.type !== 'collection') {
    return lost('collection-replaced', `"${name}" ${why ?? 'is another'} now, not the collection`)
  }
  if (uuid !== undefined && today !== null && today !== uuid) {
    const more = why === null ? '' : `, and ${why}`
    return lost(
      'collection-replaced',
      `collection "${name}" is not the one that was recorded${more}`,
    )
  }
  return why === null ? null : lost('unsupported-shape', `collection "${name}" ${why}`)
}

/** The collections that are not lost, and whether a name is that of a lost one. */
export async function sortedOut(
  store: Store,
  collections: readonly CollectionConfig[],
): Promise<{ kept: CollectionConfig[]; isLost: (name: string) => boolean }> {
  const names = new Set((await lostCollections(store, collections)).map(({ name }) => name))
  const isLost = (name: string) => names.has(name)
  return { kept: collections.filter(({ name }) => !isLost(name)), isLost }
}

/**
 * Counts these collections, and views that have taken their names. A count that fails is repeated without the views: one
 * whose pipeline fails would fail each count for good. `lostCollections` reports a view in any case.
 */
export async function countedThrough<T>(
  store: Store,
  collections: readonly CollectionConfig[],
  count: (counted: readonly CollectionConfig[]) => Promise<T>,
): Promise<T> {
  try {
    return await count(collections)
  } catch (error) {
    const kept = await withoutViews(store, collections)
    if (kept.length === collections.length) throw error
    return await count(kept)
  }
}

/** All but those that are now a view. */
async function withoutViews(
  store: Store,
  collections: readonly CollectionConfig[],
): Promise<CollectionConfig[]> {
  const infos = await readableInfos(store)
  return collections.filter(({ name }) => infos?.get(name)?.type !== 'view')
}

/** Throws for the first of `lostCollections`, under its code. */
export async function requireCollections(
  store: Store,
  collections: readonly CollectionConfig[],
): Promise<void> {
  const [lost] = await lostCollections(store, collections)
  if (lost !== undefined) throw lostError(lost)
}

export function lostError({ code, message }: Omit<LostCollection, 'name'>): KeyturnError {
  return new KeyturnError(code, message, { hint: lostHints[code] })
}

const lostHints: Record<LostCollection['code'], string> = {
  'collection-missing':
    'rename it back, restore it (mongorestore --preserveUUID), or take it out of keyturn.yaml; keyturn setup records what is there',
  'collection-replaced':
    'bring the recorded one back (mongorestore --drop --preserveUUID), or record the one that is there: keyturn setup',
  'unsupported-shape': shapeHint,
}

async function readableInfos(store: Store): Promise<Map<string, CollectionInfo> | null> {
  try {
    return await collectionInfos(store)
  } catch (error) {
    if (isUnauthorized(error)) return null
    throw error
  }
}

function uuidOf({ info }: CollectionInfo): string | null {
  const uuid: unknown = info?.uuid
  return uuid instanceof Binary ? uuid.toUUID().toHexString(true) : null
}
