import type { CreateIndexesOptions } from 'mongodb'
import { KeyturnError } from '../contracts/errors.ts'
import { reasonOf } from '../contracts/reasons.ts'
import { collections as keystoreNames } from '../contracts/names.ts'
import type { CollectionConfig } from '../contracts/settings.ts'
import { layoutIn } from '../envelope/layout.ts'
import { collectionInfos, whyNotSwept } from './collections.ts'
import {
  dropped,
  faultOf,
  listIndexes,
  servingIndex,
  wantedIndexes,
  type IndexFault,
  type WantedIndex,
} from './index-faults.ts'
import { serverCode, serverCodes } from './store-errors.ts'
import type { Store } from './store.ts'

/**
 * Creates the keystore's collections, its indexes, and on each field of `collections` the index that walk, census and
 * sweep go by. Safe to repeat; an index that serves is used whatever its name. On a large collection it takes as long as
 * MongoDB needs to read it once. Throws `index-missing` where another index is in the way, after all others were made.
 */
export async function createIndexes(
  store: Store,
  collections: readonly CollectionConfig[],
): Promise<void> {
  // Made ahead: a transaction that has to make a collection conflicts with others that do.
  for (const name of Object.values(keystoreNames)) await createCollection(store, name)
  for (const index of ownIndexes) await createOwn(store, index)
  const faults: IndexFault[] = []
  for (const { name, envelopes } of collections) {
    await createCollection(store, name)
    for (const field of envelopes) {
      for (const wanted of Object.values(wantedIndexes(layoutIn(collections, name, field)))) {
        const fault = await createWanted(store, { collection: name, field }, wanted)
        if (fault !== null) faults.push(fault)
      }
    }
  }
  if (faults.length > 0) throw indexMissing(faults)
}

/** All of them in one error: what does not serve, and what to do. */
export function indexMissing(faults: readonly IndexFault[]): KeyturnError {
  const cures = [...new Set(faults.map(({ cure }) => cure))]
  return new KeyturnError('index-missing', faults.map(({ why }) => why).join('; '), {
    hint: cures.join('; '),
  })
}

interface OwnIndex {
  readonly collection: string
  readonly key: Readonly<Record<string, 1 | -1>>
  readonly options?: CreateIndexesOptions
}

const ownIndexes: readonly OwnIndex[] = [
  {
    collection: keystoreNames.heartbeats,
    key: { expires_at: 1 },
    options: { expireAfterSeconds: 0 },
  },
  { collection: keystoreNames.tasks, key: { expires_at: 1 }, options: { expireAfterSeconds: 0 } },
  { collection: keystoreNames.heartbeats, key: { node: 1 } },
  // A key is one version: of two registrations of it at once, one must fail.
  { collection: keystoreNames.versions, key: { label: 1, key_id: 1 }, options: { unique: true } },
  {
    collection: keystoreNames.removals,
    key: { version: 1 },
    options: { unique: true, partialFilterExpression: { standing: true }, name: 'one_stands' },
  },
  { collection: keystoreNames.rotations, key: { started_at: -1 } },
  { collection: keystoreNames.shards, key: { '_id.rotation': 1 } },
  { collection: keystoreNames.shards, key: { closed: 1 } },
  { collection: keystoreNames.quarantine, key: { kek_version: 1 } },
]

/** Of a keystore's collection, where no other index has any business. */
async function createOwn(store: Store, { collection, key, options }: OwnIndex): Promise<void> {
  try {
    await store.db.collection(collection).createIndex({ ...key }, options ?? {}, {})
  } catch (error) {
    if (!isInTheWay(error)) throw error
    const found = await listIndexes(store, collection)
    const names = found
      .filter(
        ({ name, spec }) =>
          name === options?.name || JSON.stringify(spec['key']) === JSON.stringify(key),
      )
      .map(({ name }) => dropped(collection, name))
    throw new KeyturnError(
      'index-missing',
      `the index ${JSON.stringify(key)} of '${collection}' cannot be made: ${reasonOf(error)}`,
      {
        hint: `drop what is in the way: ${names[0] ?? `db.getCollection("${collection}").getIndexes() lists it`}`,
        cause: error,
      },
    )
  }
}

/** Null where it serves, or does from now on. One that is being built already is waited for under its own name. */
async function createWanted(
  store: Store,
  place: { collection: string; field: string },
  { name, ...wanted }: WantedIndex,
): Promise<IndexFault | null> {
  const found = await listIndexes(store, place.collection)
  const fault = faultOf(found, { name, ...wanted }, place)
  if (fault === null || fault.isInTheWay) return fault
  const ready = found.map((index) => ({ ...index, isBuilding: false }))
  const building = servingIndex(ready, { name, ...wanted })
  const { key, ...options } = wanted
  try {
    // Of its own collation, so that strings are walked byte by byte whatever the collection's default is.
    const exact = { ...options, collation: { locale: 'simple' }, name: building?.name ?? name }
    await store.db.collection(place.collection).createIndex({ ...key }, exact, {})
    return null
  } catch (error) {
    if (!isInTheWay(error)) throw error
    const now = faultOf(await listIndexes(store, place.collection), { name, ...wanted }, place)
    if (now === null || now.isInTheWay) return now
    return { ...now, why: `${now.why}: ${reasonOf(error)}`, cure: listThem(place.collection) }
  }
}

function listThem(collection: string): string {
  return `drop what is in the way: db.getCollection("${collection}").getIndexes() lists them`
}

/** Another index has the name or the key, or there are too many. */
function isInTheWay(error: unknown): boolean {
  const code = serverCode(error)
  return (
    code === serverCodes.cannotCreateIndex ||
    code === serverCodes.indexOptionsConflict ||
    code === serverCodes.indexKeySpecsConflict
  )
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

function unsupported(message: string): KeyturnError {
  return new KeyturnError('unsupported-shape', message, {
    hint: 'envelopes stand in ordinary collections: move them, and name the new collection in keyturn.yaml',
  })
}
