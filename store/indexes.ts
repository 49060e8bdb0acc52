import type { CreateIndexesOptions } from 'mongodb'
import { setTimeout as pause } from 'node:timers/promises'
import { KeyturnError } from '../contracts/errors.ts'
import { reasonOf } from '../contracts/reasons.ts'
import { collections as keystoreNames } from '../contracts/names.ts'
import type { CollectionConfig } from '../contracts/settings.ts'
import { layoutIn } from '../envelope/layout.ts'
import { awaiting } from '../observability/awaiting.ts'
import {
  dropped,
  faultOf,
  listIndexes,
  wantedIndexes,
  type IndexFault,
  type WantedIndex,
} from './index-faults.ts'
import { limits } from './limits.ts'
import { isExistingCollection, isIndexConflict } from './server-errors.ts'
import type { Store } from './store.ts'

/** All data-bearing members build an index; a majority is enough, so one that is down is not waited for. */
const quorum = { commitQuorum: 'majority' } as const

/** Between two looks at an index that is being built, in milliseconds. */
const lookAgainMs = 500

/**
 * Creates the keystore's collections and indexes, and the indexes of each field of `collections`. Safe to repeat; a usable
 * index is kept whatever its name. On a large collection it takes as long as MongoDB needs to read it once. Throws
 * `index-missing` if another index conflicts, after all others were created.
 */
export async function createIndexes(
  store: Store,
  collections: readonly CollectionConfig[],
): Promise<void> {
  // Created now: transactions that create the same collection conflict.
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

/** All faults in one error, with hints. */
export function indexMissing(faults: readonly IndexFault[]): KeyturnError {
  const hints = [...new Set(faults.map(({ hint }) => hint))]
  return new KeyturnError('index-missing', faults.map(({ why }) => why).join('; '), {
    hint: hints.join('; '),
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
  {
    collection: keystoreNames.requests,
    key: { action: 1, subject: 1, options: 1 },
    options: { unique: true, partialFilterExpression: { state: 'open' }, name: 'one_is_open' },
  },
  { collection: keystoreNames.requests, key: { used_for: 1 } },
  { collection: keystoreNames.rotations, key: { started_at: -1 } },
  { collection: keystoreNames.ranges, key: { '_id.rotation': 1 } },
  { collection: keystoreNames.ranges, key: { closed: 1 } },
  { collection: keystoreNames.quarantine, key: { kek_version: 1 } },
]

/** An index of a keystore's collection, where no other index is expected. */
async function createOwn(store: Store, { collection, key, options }: OwnIndex): Promise<void> {
  try {
    await store.db.collection(collection).createIndex({ ...key }, { ...options }, { ...quorum })
  } catch (error) {
    if (!isIndexConflict(error)) throw error
    const found = await listIndexes(store, collection)
    const names = found
      .filter(
        ({ name, spec }) =>
          name === options?.name || JSON.stringify(spec['key']) === JSON.stringify(key),
      )
      .map(({ name }) => dropped(collection, name))
    throw new KeyturnError(
      'index-missing',
      `the index ${JSON.stringify(key)} of "${collection}" cannot be made: ${reasonOf(error)}`,
      {
        hint: `drop what is in the way: ${names[0] ?? `db.getCollection("${collection}").getIndexes() lists it`}`,
        cause: error,
      },
    )
  }
}

interface Place {
  collection: string
  field: string
}

/** Null if it is usable, or was created. */
async function createWanted(
  store: Store,
  place: Place,
  wanted: WantedIndex,
): Promise<IndexFault | null> {
  const fault = await faultOnceBuilt(store, place, wanted)
  if (fault === null || fault.isInTheWay || fault.isBuilding === true) return fault
  const { key, ...options } = wanted
  try {
    // An explicit collation compares strings byte by byte, whatever the collection's default is.
    const exact = { ...options, collation: { locale: 'simple' } }
    await store.db.collection(place.collection).createIndex({ ...key }, exact, { ...quorum })
    return null
  } catch (error) {
    if (!isIndexConflict(error)) throw error
    const now = await faultNow(store, place, wanted)
    if (now === null || now.isInTheWay) return now
    return { ...now, why: `${now.why}: ${reasonOf(error)}`, hint: listThem(place.collection) }
  }
}

/** Waits a limited time for an index that another client builds. After that the error names it, and the caller retries. */
async function faultOnceBuilt(
  store: Store,
  place: Place,
  wanted: WantedIndex,
): Promise<IndexFault | null> {
  const first = await faultNow(store, place, wanted)
  if (first?.isBuilding !== true) return first
  return await awaiting(`mongodb: ${first.why}`, async () => {
    const giveUpAt = performance.now() + limits.othersIndex
    for (let now: IndexFault | null = first; ; now = await faultNow(store, place, wanted)) {
      if (now?.isBuilding !== true || performance.now() > giveUpAt) return now
      await pause(lookAgainMs)
    }
  })
}

async function faultNow(store: Store, place: Place, wanted: WantedIndex) {
  return faultOf(await listIndexes(store, place.collection), wanted, place)
}

function listThem(collection: string): string {
  return `drop what is in the way: db.getCollection("${collection}").getIndexes() lists them`
}

async function createCollection(store: Store, name: string): Promise<void> {
  try {
    await store.db.createCollection(name)
  } catch (error) {
    if (!isExistingCollection(error)) throw error
  }
}
