import type { Document } from 'mongodb'
import type { Store } from '../../store/store.ts'
import type { Fleet } from '../support/fleet.ts'

/** Collections that a useful dump leaves out, since their documents belong to the running fleet. */
const left = new Set(['process_heartbeats'])

/** Like mongodump and mongorestore: copies documents and indexes into collections with new UUIDs. */
export async function copyDatabase(from: Store, name: string): Promise<void> {
  const to = from.client.db(name)
  await to.dropDatabase()
  for (const { name: collection } of await from.db.listCollections().toArray()) {
    if (collection.startsWith('system.')) continue
    await to.createCollection(collection)
    const indexes = (await from.db.collection(collection).listIndexes().toArray()) as Document[]
    for (const { key, ...options } of indexes) {
      if (options['name'] === '_id_') continue
      await to.collection(collection).createIndex(key as never, optionsOf(options), {})
    }
    if (left.has(collection)) continue
    const documents = await from.db.collection(collection).find({}, { raw: false }).toArray()
    if (documents.length > 0) await to.collection(collection).insertMany(documents)
  }
}

/** A copy of everything in the database, to be restored later. */
export interface Dump {
  restore(): Promise<void>
}

/** Dumps the fleet's database; `restore` writes it back into the same collections, or into new ones of the same names. */
export async function dump(store: Store, how: 'same' | 'new'): Promise<Dump> {
  const kept = new Map<string, Document[]>()
  for (const { name } of await store.db.listCollections().toArray()) {
    // The roster is written at each heartbeat.
    if (name.startsWith('system.') || left.has(name) || name === 'fleet_nodes') continue
    kept.set(name, await store.db.collection(name).find().toArray())
  }
  return {
    async restore() {
      for (const [name, documents] of kept) {
        const collection = store.db.collection(name)
        if (how === 'new' && name.startsWith('kek_')) {
          const indexes = (await collection.listIndexes().toArray()) as Document[]
          await collection.drop()
          await store.db.createCollection(name)
          for (const { key, ...options } of indexes) {
            if (options['name'] === '_id_') continue
            await collection.createIndex(key as never, optionsOf(options), {})
          }
        } else await collection.deleteMany({})
        if (documents.length > 0) await collection.insertMany(documents)
      }
    },
  }
}

/** Runs the fleet's commands on a copy: its keyturn.yaml differs only in the database. */
export async function onCopy(fleet: Fleet, database: string) {
  const config = await fleet.writeConfig(database, {
    mongodb: { database },
  })
  return {
    config,
    cli: (...args: readonly string[]) => fleet.cli('--config', config, ...args),
  }
}

/** The options for `createIndexes` from an entry of `listIndexes`. */
function optionsOf(listed: Document): Document {
  return Object.fromEntries(Object.entries(listed).filter(([name]) => name !== 'v'))
}
