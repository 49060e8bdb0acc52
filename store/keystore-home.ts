import { Binary, type Document } from 'mongodb'
import { collections } from '../contracts/names.ts'
import type { HomeDoc } from './documents.ts'
import { isUnauthorized } from './server-errors.ts'
import type { Store } from './store.ts'

/**
 * The home of the keystore as this process sees it. A restored dump recreates collections with other UUIDs; a disk snapshot
 * keeps the UUIDs and runs on other hosts. A member is null if this user may not read it, or a mongos does not report it.
 */
export async function readHome(store: Store): Promise<HomeDoc> {
  const [uuids, hello] = await Promise.all([collectionUuids(store), store.db.command({ hello: 1 })])
  const hosts: unknown = hello['hosts']
  const isKnown = Array.isArray(hosts) && hosts.length > 0
  return {
    collection: uuids.get(collections.install) ?? null,
    hosts: isKnown ? hosts.map(String).sort() : null,
  }
}

/** UUIDs of the database's collections as text, by name; empty if this user may not list them. */
export async function collectionUuids(store: Store): Promise<ReadonlyMap<string, string>> {
  try {
    const infos = await store.db.listCollections<Document & { name: string }>().toArray()
    return new Map(
      infos.flatMap((info): [string, string][] => {
        const uuid = (info['info'] as Document | undefined)?.['uuid'] as unknown
        return uuid instanceof Binary ? [[info.name, uuid.toUUID().toHexString(true)]] : []
      }),
    )
  } catch (error) {
    if (isUnauthorized(error)) return new Map()
    throw error
  }
}
