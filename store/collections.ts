import { Binary, type CollectionInfo } from 'mongodb'
import { KeyturnError } from '../contracts/errors.ts'
import type { CollectionConfig } from '../contracts/settings.ts'
import { serverCode, serverCodes } from './store-errors.ts'
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

/** What became of a recorded collection that is not what it was. */
export interface LostCollection {
  code: 'collection-missing' | 'collection-replaced'
  message: string
}

/**
 * Recorded collections that are gone, renamed, or made anew since `setup` recorded them: their envelopes were not counted, so
 * nothing may be concluded from a count. What this user may not read, or a mongos does not tell, is no loss.
 */
export async function lostCollections(
  store: Store,
  collections: readonly CollectionConfig[],
): Promise<LostCollection[]> {
  const infos = await readableInfos(store)
  if (infos === null) return []
  return collections.flatMap(({ name, uuid }): LostCollection[] => {
    const info = infos.get(name)
    const code = 'collection-replaced'
    if (info === undefined) {
      return [{ code: 'collection-missing', message: `collection '${name}' is missing` }]
    }
    if (info.type !== 'collection') {
      return [{ code, message: `'${name}' is a ${info.type ?? 'view'} now, not the collection` }]
    }
    const today = uuidOf(info)
    if (uuid === undefined || today === null || today === uuid) return []
    return [{ code, message: `collection '${name}' is not the one that was recorded` }]
  })
}

/** Throws `collection-missing` or `collection-replaced` for the first of `lostCollections`. */
export async function requireCollections(
  store: Store,
  collections: readonly CollectionConfig[],
): Promise<void> {
  const [lost] = await lostCollections(store, collections)
  if (lost !== undefined) throw new KeyturnError(lost.code, lost.message, { hint: lostHint })
}

const lostHint =
  'restore it, rename it back, or take it out of keyturn.yaml; keyturn setup records what is there'

async function readableInfos(store: Store): Promise<Map<string, CollectionInfo> | null> {
  try {
    return await collectionInfos(store)
  } catch (error) {
    if (serverCode(error) === serverCodes.unauthorized) return null
    throw error
  }
}

function uuidOf({ info }: CollectionInfo): string | null {
  const uuid: unknown = info?.uuid
  return uuid instanceof Binary ? uuid.toUUID().toHexString(true) : null
}
