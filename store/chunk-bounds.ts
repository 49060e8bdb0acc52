import type { Binary, Document } from 'mongodb'
import type { Bound } from './documents.ts'
import { rawAt } from './raw-bson.ts'
import { NotFaithful, rawValue } from './raw-values.ts'
import { isUnauthorized } from './server-errors.ts'
import type { Store } from './store.ts'

/** More ranges than this would cost more than transactions over several shards. */
const boundsAtMost = 64

/**
 * The `_id`s at which the chunks of another shard begin: one shard alone writes a page between two of these bounds. Empty on
 * a replica set, for a collection that is not sharded by ranges of `_id`, and if the database's user may not read `config`
 * (https://www.mongodb.com/docs/manual/reference/config-database/).
 */
export async function ownerBounds(store: Store, collection: string): Promise<Bound[]> {
  if (!store.isRouter) return []
  try {
    const bounds = await readBounds(store, collection)
    return bounds.length > boundsAtMost ? [] : bounds
  } catch (error) {
    if (isUnauthorized(error)) return []
    throw error
  }
}

async function readBounds(store: Store, collection: string): Promise<Bound[]> {
  const config = store.client.db('config')
  const sharded = await config
    .collection<{ _id: string; key: Document; uuid: Binary }>('collections')
    .findOne({ _id: `${store.db.databaseName}.${collection}` })
  if (sharded === null || !isByRange(sharded.key)) return []
  const chunks = config
    .collection('chunks')
    .find<Buffer>({ uuid: sharded.uuid }, { projection: { min: 1, shard: 1 }, raw: true })
    .sort({ min: 1 })
  const bounds: Bound[] = []
  let owner: unknown = null
  for await (const chunk of chunks) {
    const of = valueAt(chunk, 'shard')
    const begin = valueAt(chunk, 'min._id')
    if (owner !== null && of !== owner && begin !== undefined) bounds.push({ v: begin })
    owner = of
  }
  return bounds
}

/** Ranges of a hashed key are not ranges of `_id`. */
function isByRange(key: Document): boolean {
  return Object.keys(key).join() === '_id' && Number(key['_id']) === 1
}

/** Undefined for the few values that cannot be returned unchanged: the range is not split there. */
function valueAt(chunk: Buffer, path: string): unknown {
  const element = rawAt(chunk, path)
  try {
    return element === null ? undefined : rawValue(element)
  } catch (error) {
    if (error instanceof NotFaithful) return undefined
    throw error
  }
}
