import type { CollectionInfo, Document } from 'mongodb'
import { KeyturnError } from '../contracts/errors.ts'
import type { CollectionConfig } from '../contracts/settings.ts'
import { layoutIn } from '../envelope/layout.ts'
import {
  holdsAny,
  holdsClauses,
  withClauses,
  withoutClauses,
  type Clauses,
} from './fence-clauses.ts'
import { isLocked, isMissingCollection, isRefused } from './server-errors.ts'
import type { Store } from './store.ts'

/**
 * The fence of a removal: MongoDB itself refuses to store the version (error 121), through a validator on each field
 * (fence-clauses.ts). Missing fields pass it. Level moderate where none was set: a record that broke it before, like one in
 * quarantine, stays editable. A write with `bypassDocumentValidation` passes it; the census after the undo window finds
 * such writes.
 *
 * `collMod` waits for the transactions that are open on the collection, and all writes queue behind it. So it waits half a
 * second at most and then answers `busy`; the caller repeats it.
 */

/** How long a `collMod`, and with it every write of an application, waits for an open transaction, in milliseconds. */
const collModMs = 500
/** How many records the validator is tried with. */
const sampled = 5

export interface Fence {
  collection: string
  fields: readonly string[]
  /** Declared layouts, by field (contracts/settings.ts). */
  layouts?: CollectionConfig['layouts']
  version: number
}

/** `busy`: an open transaction on the collection delayed the change; nothing has changed, try again later. */
export type FenceChange = 'done' | 'busy'

/** The fence of a version on all fields of a collection. */
export function fenceOn(collection: CollectionConfig, version: number): Fence {
  const { name, envelopes: fields, layouts = [] } = collection
  return { collection: name, fields, layouts, version }
}

interface Rules {
  validator: Document
  validationLevel: string | undefined
  validationAction: string | undefined
}

/**
 * Raises the fence; does nothing when it is already up. Never creates a collection. Throws `collection-missing`, and
 * `no-fence` where it could not be enforced: without the right to `collMod`, or where the collection's own rules only warn
 * or are off.
 */
export async function raiseFence(store: Store, fence: Fence): Promise<FenceChange> {
  const rules = await readRules(store, fence.collection)
  if (rules === null) throw missing(fence.collection)
  if (isEnforced(rules, fence)) return 'done'
  const lax = laxness(rules)
  if (lax !== null) throw noFence(fence.collection, lax)
  const isBare = Object.keys(rules.validator).length === 0
  // The level of an old validator that has none is the server's default, strict.
  const isUnset = !isBare && rules.validationLevel === undefined
  const { validator } = withClauses(rules.validator, clausesOf(fence), isUnset)
  const changed = await collMod(store, fence.collection, {
    validator,
    validationLevel: isBare || isUnset ? 'moderate' : rules.validationLevel,
    validationAction: 'error',
  })
  if (changed === 'busy') return changed
  if (await hasFence(store, fence)) return changed
  throw noFence(fence.collection, 'its validator was changed at the same moment')
}

/**
 * Removes exactly this fence and restores the validator and its level. Does nothing when the collection is missing. Throws
 * `fence-left` when it cannot be removed, or when the validator still refuses the version.
 */
export async function lowerFence(store: Store, fence: Fence): Promise<FenceChange> {
  const rules = await readRules(store, fence.collection)
  const less = rules === null ? null : withoutClauses(rules.validator, clausesOf(fence))
  if (rules === null) return 'done'
  if (less === null) {
    await requireNoFence(store, fence)
    return 'done'
  }
  const isBare = Object.keys(less.validator).length === 0
  const changed = await collMod(store, fence.collection, {
    validator: less.validator,
    validationLevel: isBare || less.noted ? 'strict' : rules.validationLevel,
  }).catch((error: unknown) => {
    const why = error instanceof Error ? error.message : String(error)
    throw fenceLeft(fence, `it cannot be taken off: ${why}`, error)
  })
  if (changed === 'done' && (await refusesVersion(store, fence))) {
    throw fenceLeft(fence, 'its validator refuses the version in words that keyturn did not write')
  }
  return changed
}

/** Whether MongoDB refuses the version in all of these fields now, by our clauses. */
export async function hasFence(store: Store, fence: Fence): Promise<boolean> {
  const rules = await readRules(store, fence.collection)
  return rules !== null && isEnforced(rules, fence)
}

/** Why a collection's validator could not enforce the fence, as far as can be seen without changing it; null if nothing prevents it. */
export async function fenceObstacle(store: Store, { collection }: Fence): Promise<string | null> {
  const rules = await readRules(store, collection)
  return rules === null ? `there is no collection "${collection}"` : laxness(rules)
}

/**
 * Whether a validator refuses this version in any of these fields, however it is written: by the clauses of a fence, or
 * because records that pass now would fail with this version in them.
 */
export async function refusesVersion(store: Store, fence: Fence): Promise<boolean> {
  const rules = await readRules(store, fence.collection)
  if (rules === null || Object.keys(rules.validator).length === 0) return false
  if (rules.validationLevel === 'off' || rules.validationAction === 'warn') return false
  const clauses = clausesOf(fence)
  if (holdsAny(rules.validator, clauses)) return true
  for (const path of clauses.paths) {
    if (await refusesSample(store, fence, path, rules.validator)) return true
  }
  return false
}

/** Throws `fence-left` when a validator refuses the version in any of the fields. */
export async function requireNoFence(store: Store, fence: Fence): Promise<void> {
  if (!(await refusesVersion(store, fence))) return
  throw fenceLeft(fence, `its validator refuses version ${fence.version}`)
}

/** Runs the validator as a query: true if records that pass it now would all fail with this version in them. */
async function refusesSample(
  store: Store,
  { collection, version }: Fence,
  path: string,
  validator: Document,
): Promise<boolean> {
  const passing = [
    { $match: { [path]: { $type: 'number' } } },
    { $match: validator },
    { $limit: sampled },
    { $set: { [path]: version } },
  ]
  const records = store.db.collection(collection)
  const counted = (stages: Document[]) =>
    records.aggregate<{ n: number }>([...passing, ...stages, { $count: 'n' }]).toArray()
  const [[all], [still]] = await Promise.all([counted([]), counted([{ $match: validator }])])
  return all !== undefined && still === undefined
}

function isEnforced(rules: Rules, fence: Fence): boolean {
  return laxness(rules) === null && holdsClauses(rules.validator, clausesOf(fence))
}

function clausesOf({ collection, fields, layouts = [], version }: Fence): Clauses {
  const collections = [{ name: collection, envelopes: fields, layouts }]
  return { paths: fields.map((field) => layoutIn(collections, collection, field).version), version }
}

/** If validation only warns or is off, enforcing it would change its effect on the application. */
function laxness(rules: Rules): string | null {
  if (Object.keys(rules.validator).length === 0) return null
  if (rules.validationAction === 'warn') return 'its validation action is warn'
  return rules.validationLevel === 'off' ? 'its validation level is off' : null
}

/** Reads BSON values unpromoted, so that the old validator is restored unchanged. Null when the collection is missing. */
async function readRules(store: Store, collection: string): Promise<Rules | null> {
  const [info] = await store.db
    .listCollections({ name: collection }, { promoteValues: false, bsonRegExp: true })
    .toArray()
  if (info === undefined) return null
  const options = (info as CollectionInfo).options as Partial<Rules> | undefined
  return {
    validator: options?.validator ?? {},
    validationLevel: options?.validationLevel,
    validationAction: options?.validationAction,
  }
}

async function collMod(
  store: Store,
  collection: string,
  rules: Partial<Rules>,
): Promise<FenceChange> {
  const change = { collMod: collection, ...rules, writeConcern: { w: 'majority' } }
  try {
    await store.db.command({ ...change, maxTimeMS: collModMs }, { ignoreUndefined: true })
    return 'done'
  } catch (error) {
    if (isLocked(error)) return 'busy'
    if (isMissingCollection(error)) throw missing(collection)
    if (isRefused(error)) throw noFence(collection, 'this user may not use collMod', error)
    throw error
  }
}

function missing(collection: string): KeyturnError {
  return new KeyturnError('collection-missing', `there is no collection "${collection}"`, {
    hint: 'restore it, or take it out of the settings: keyturn setup',
  })
}

function noFence(collection: string, why: string, cause?: unknown): KeyturnError {
  return new KeyturnError(
    'no-fence',
    `no fence can be raised on collection "${collection}": ${why}`,
    {
      hint: 'grant collMod and let its rules be enforced, or remove with --without-fence',
      cause,
    },
  )
}

function fenceLeft({ collection, version }: Fence, why: string, cause?: unknown): KeyturnError {
  return new KeyturnError(
    'fence-left',
    `a fence keeps version ${version} out of collection "${collection}": ${why}`,
    {
      hint: `keyturn remove --version ${version} --undo takes it off; where others have rewritten the validator, take the clause on "kek_version" out with collMod`,
      cause,
    },
  )
}
