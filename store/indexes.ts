import type { CollectionInfo, Document } from 'mongodb'
import { KeyturnError } from '../contracts/errors.ts'
import { collections as keystoreNames } from '../contracts/names.ts'
import type { CollectionConfig } from '../contracts/settings.ts'
import { layoutIn, type Layout } from '../envelope/layout.ts'
import { versionIndex } from './envelope-pages.ts'
import { keystore } from './keystore.ts'
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
      // Of its own collation, so that strings are walked byte by byte whatever the collection's default is.
      await store.db
        .collection(name)
        .createIndex(
          versionIndex(layoutIn(collections, name, field)),
          { collation: { locale: 'simple' } },
          {},
        )
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
      if (!indexes.some((index) => isVersionIndex(index, layout))) missing.push(`${name}.${field}`)
    }
  }
  return missing
}

/**
 * Throws `unsupported-shape` for what cannot be swept: views, time series, and envelopes whose path leads through an
 * array. Looks at the data only where the index says that there was an array once.
 */
export async function checkShapes(
  store: Store,
  collections: readonly CollectionConfig[],
): Promise<void> {
  const infos = await store.db.listCollections().toArray()
  for (const { name, envelopes } of collections) {
    const info = infos.find((each) => each.name === name) as CollectionInfo | undefined
    if (info === undefined) continue
    if (info.type !== 'collection') {
      throw unsupported(`'${name}' is a ${info.type ?? 'view'}, not a collection`)
    }
    for (const field of envelopes) {
      const layout = layoutIn(collections, name, field)
      // A layout's other paths are in no index that would know.
      if (layout.declared === null && !(await mayHaveArrays(store, name, layout))) continue
      for (const place of layout.declared === null ? [field] : layout.paths) {
        const path = await arrayIn(store, name, place)
        if (path !== null) throw unsupported(`'${path}' of collection '${name}' is an array`)
      }
    }
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

/** An index is multikey for ever once a record had an array on its path. Without the index: perhaps. */
async function mayHaveArrays(store: Store, name: string, layout: Layout): Promise<boolean> {
  const plan = await store.db
    .collection(name)
    .find({ [layout.version]: 1 }, { hint: versionIndex(layout), collation: { locale: 'simple' } })
    .explain('queryPlanner')
    .catch((): Document => ({}))
  return !JSON.stringify(plan).includes('"isMultiKey":false')
}

async function arrayIn(store: Store, name: string, field: string): Promise<string | null> {
  const parts = field.split('.')
  for (const depth of parts.keys()) {
    const path = parts.slice(0, depth + 1).join('.')
    const found = await store.db
      .collection(name)
      .findOne({ [path]: { $type: 'array' } }, { projection: { _id: 1 } })
    if (found !== null) return path
  }
  return null
}

function unsupported(message: string): KeyturnError {
  return new KeyturnError('unsupported-shape', message, {
    hint: 'an envelope is a sub-document at a fixed path, in an ordinary collection',
  })
}
