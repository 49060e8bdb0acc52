import type { Document } from 'mongodb'
import { KeyturnError } from '../contracts/errors.ts'
import { collections as keystoreNames } from '../contracts/names.ts'
import type { CollectionConfig } from '../contracts/settings.ts'
import { layoutIn, type Layout } from '../envelope/layout.ts'
import { collectionInfos, whyNotSwept } from './collections.ts'
import { keystore } from './keystore.ts'
import { oddIndex, versionIndex } from './presence.ts'
import { serverCode, serverCodes } from './store-errors.ts'
import type { Store } from './store.ts'

/**
 * Creates the keystore's collections, its indexes, and on each field of `collections` the index that walk, census and
 * sweep go by. Safe to repeat. On a large collection it takes as long as MongoDB needs to read it once.
 */
export async function createIndexes(
  store: Store,
  collections: readonly CollectionConfig[],
): Promise<void> {
  // Made ahead: a transaction that has to make a collection conflicts with others that do.
  for (const name of Object.values(keystoreNames)) await createCollection(store, name)
  await keystore.heartbeats(store).createIndex({ expires_at: 1 }, { expireAfterSeconds: 0 }, {})
  await keystore.tasks(store).createIndex({ expires_at: 1 }, { expireAfterSeconds: 0 }, {})
  await keystore.heartbeats(store).createIndex({ node: 1 })
  // A key is one version: of two registrations of it at once, one must fail.
  await keystore.versions(store).createIndex({ label: 1, key_id: 1 }, { unique: true }, {})
  await keystore
    .removals(store)
    .createIndex(
      { version: 1 },
      { unique: true, partialFilterExpression: { standing: true }, name: 'one_stands' },
      {},
    )
  await keystore.rotations(store).createIndex({ started_at: -1 })
  await keystore.shards(store).createIndex({ '_id.rotation': 1 })
  await keystore.shards(store).createIndex({ closed: 1 })
  await keystore.quarantine(store).createIndex({ kek_version: 1 })
  for (const { name, envelopes } of collections) {
    await createCollection(store, name)
    for (const field of envelopes) {
      const layout = layoutIn(collections, name, field)
      // Of its own collation, so that strings are walked byte by byte whatever the collection's default is.
      const collation = { locale: 'simple' }
      const { key, ...odd } = oddIndex(layout)
      await store.db.collection(name).createIndex(versionIndex(layout), { collation }, {})
      await store.db.collection(name).createIndex(key, { ...odd, collation }, {})
    }
  }
}

/** Fields without a usable index, as `collection.field`; also all when the collection is not there. */
export async function missingIndexes(
  store: Store,
  collections: readonly CollectionConfig[],
): Promise<string[]> {
  const missing: string[] = []
  for (const { name, envelopes } of collections) {
    const indexes = await indexesOf(store, name)
    for (const field of envelopes) {
      const layout = layoutIn(collections, name, field)
      const odd = oddIndex(layout).name
      const isThere =
        indexes.some((index) => isVersionIndex(index, layout)) &&
        indexes.some((index) => index['name'] === odd && index['hidden'] !== true)
      if (!isThere) missing.push(`${name}.${field}`)
    }
  }
  return missing
}

/** Throws `unsupported-shape` for collections that cannot be swept. What is not there yet is made by `setup`. */
export async function checkShapes(
  store: Store,
  collections: readonly CollectionConfig[],
): Promise<void> {
  const infos = await collectionInfos(store)
  for (const { name } of collections) {
    const info = infos.get(name)
    const why = info === undefined ? null : whyNotSwept(info)
    if (why !== null) throw unsupported(`collection '${name}' ${why}`)
  }
}

async function createCollection(store: Store, name: string): Promise<void> {
  try {
    await store.db.createCollection(name)
  } catch (error) {
    if (serverCode(error) !== serverCodes.namespaceExists) throw error
  }
}

async function indexesOf(store: Store, name: string): Promise<Document[]> {
  try {
    return (await store.db.collection(name).listIndexes().toArray()) as Document[]
  } catch (error) {
    if (serverCode(error) === serverCodes.namespaceNotFound) return []
    throw error
  }
}

/** Exactly this key, over all records, in byte order. A hidden one cannot be hinted at. */
function isVersionIndex(index: Document, layout: Layout): boolean {
  const partial = ['partialFilterExpression', 'sparse', 'hidden', 'collation']
  return (
    JSON.stringify(index['key']) === JSON.stringify(versionIndex(layout)) &&
    partial.every((option) => index[option] === undefined || index[option] === false)
  )
}

function unsupported(message: string): KeyturnError {
  return new KeyturnError('unsupported-shape', message, {
    hint: 'envelopes stand in ordinary collections: move them, and name the new collection in keyturn.yaml',
  })
}
