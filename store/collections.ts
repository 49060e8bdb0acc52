import type { CollectionInfo } from 'mongodb'
import type { Store } from './store.ts'

/** What MongoDB says of the collections of a database, by name. */
export async function collectionInfos(store: Store): Promise<Map<string, CollectionInfo>> {
  const infos = await store.db.listCollections().toArray()
  return new Map(infos.map((info) => [info.name, info as CollectionInfo]))
}

/** Why a rotation could not walk or rewrite this collection; null where it can. */
export function whyNotSwept({ type, options }: CollectionInfo): string | null {
  if (type !== 'collection') return `is a ${type === 'timeseries' ? 'time series' : 'view'}`
  const { capped, timeseries, encryptedFields } = options ?? {}
  if (capped === true) return 'is capped: mongodb lets no document of it grow or be replaced'
  if (timeseries !== undefined) return 'is a time series'
  if (encryptedFields !== undefined) return 'has queryable encryption'
  return null
}
