import type { CollectionInfo, Document } from 'mongodb'
import { KeyturnError } from '../contracts/errors.ts'
import type { CollectionConfig } from '../contracts/settings.ts'
import { layoutIn } from '../envelope/layout.ts'
import { isRefused, serverCode, serverCodes } from './store-errors.ts'
import type { Store } from './store.ts'

/**
 * The fence of a removal: MongoDB itself refuses to store the version (error 121), through a validator
 * `{<field>.kek_version: {$ne: N}}` on each field, joined by `$and` to the validator that is there. Such a validator is
 * `{$and: [<the old one, if any>, <fences of one or more versions>, <note, if the level was raised>]}`, which is
 * how it is recognised and taken off exactly. Missing fields pass it. Level moderate where none was set: a record that
 * broke it before, like one in quarantine, stays editable.
 */

export interface Fence {
  collection: string
  fields: readonly string[]
  /** Of the fields that have one of their own (contracts/settings.ts). */
  layouts?: CollectionConfig['layouts']
  version: number
}

/** The fence of a version on everything that a collection holds. */
export function fenceOn(collection: CollectionConfig, version: number): Fence {
  const { name, envelopes: fields, layouts = [] } = collection
  return { collection: name, fields, layouts, version }
}

interface Rules {
  validator: Document
  validationLevel: string | undefined
  validationAction: string | undefined
}

/** Says that the old validator had no level of its own, so that it gets none back. */
const levelNote = { $comment: 'keyturn: validation level was not set' }

/**
 * Raises the fence; one that stands already stays. Makes the collection if it is not there. Throws `no-fence` where it
 * cannot hold: without the right to `collMod`, or where the collection's own rules only warn or are off.
 */
export async function raiseFence(store: Store, fence: Fence): Promise<void> {
  const rules = await readRules(store, fence.collection)
  if (stands(rules, fence)) return
  requireEnforced(rules, fence.collection)
  const { old, fences, noted } = takeApart(rules.validator, fence)
  const wanted = clausesOf(fence).filter((clause) => !fences.some((there) => same(there, clause)))
  // The level of an old validator that has none is the server's default, strict.
  const note = noted || (old !== null && rules.validationLevel === undefined)
  await collMod(store, fence.collection, {
    validator: putTogether(old, [...fences, ...wanted], note),
    validationLevel: old === null || note ? 'moderate' : rules.validationLevel,
    validationAction: 'error',
  })
  if (await hasFence(store, fence)) return
  throw noFence(fence.collection, 'its validator was changed at the same moment')
}

/** Takes exactly this fence off: the validator and its level are then as they were. Not there: nothing is done. */
export async function lowerFence(store: Store, fence: Fence): Promise<void> {
  const rules = await readRules(store, fence.collection)
  const { old, fences, noted } = takeApart(rules.validator, fence)
  const ours = clausesOf(fence)
  const rest = fences.filter((there) => !ours.some((clause) => same(there, clause)))
  if (rest.length === fences.length) return
  if (rest.length > 0) {
    await collMod(store, fence.collection, { validator: putTogether(old, rest, noted) })
    return
  }
  await collMod(store, fence.collection, {
    validator: old ?? {},
    validationLevel: old === null || noted ? 'strict' : rules.validationLevel,
  })
}

/** Whether MongoDB refuses the version in all of these fields now. */
export async function hasFence(store: Store, fence: Fence): Promise<boolean> {
  return stands(await readRules(store, fence.collection), fence)
}

function stands(rules: Rules, fence: Fence): boolean {
  if (rules.validationLevel === 'off' || rules.validationAction === 'warn') return false
  const { fences } = takeApart(rules.validator, fence)
  return clausesOf(fence).every((clause) => fences.some((there) => same(there, clause)))
}

function clausesOf(fence: Fence): Document[] {
  return pathsOf(fence).map((path) => ({ [path]: { $ne: fence.version } }))
}

function pathsOf({ collection, fields, layouts = [] }: Fence): string[] {
  const collections = [{ name: collection, envelopes: fields, layouts }]
  return fields.map((field) => layoutIn(collections, collection, field).version)
}

interface Parts {
  /** The validator without us; null when there is none. */
  old: Document | null
  fences: Document[]
  noted: boolean
}

function takeApart(validator: Document, fence: Fence): Parts {
  const clauses = validator['$and'] as Document[] | undefined
  const paths = pathsOf(fence)
  const isFence = (clause: Document) => isFenceOn(clause, paths)
  const isOurs = Object.keys(validator).length === 1 && clauses?.some(isFence) === true
  if (!isOurs) {
    return { old: Object.keys(validator).length === 0 ? null : validator, fences: [], noted: false }
  }
  const others = clauses.filter((clause) => !isFence(clause) && !same(clause, levelNote))
  return {
    old: others.length > 1 ? { $and: others } : (others[0] ?? null),
    fences: clauses.filter(isFence),
    noted: clauses.some((clause) => same(clause, levelNote)),
  }
}

function putTogether(old: Document | null, fences: Document[], noted: boolean): Document {
  return { $and: [...(old === null ? [] : [old]), ...fences, ...(noted ? [levelNote] : [])] }
}

/** Of any version, on one of these paths or on that of a `keyturn-1` envelope. */
function isFenceOn(clause: Document, paths: readonly string[]): boolean {
  const [[path, condition] = ['', null], ...more] = Object.entries(clause) as [string, unknown][]
  if (more.length > 0 || !(paths.includes(path) || path.endsWith('.kek_version'))) return false
  return /^\{"\$ne":\d+\}$/.test(JSON.stringify(condition))
}

function same(one: Document, other: Document): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}

/** Where its rules only warn, or are off, a fence would change what they do to the application. */
function requireEnforced(rules: Rules, collection: string): void {
  if (Object.keys(rules.validator).length === 0) return
  if (rules.validationAction === 'warn') throw noFence(collection, 'its validation action is warn')
  if (rules.validationLevel === 'off') throw noFence(collection, 'its validation level is off')
}

/** Unpromoted, so that the old validator goes back as it came. */
async function readRules(store: Store, collection: string): Promise<Rules> {
  const [info] = await store.db
    .listCollections({ name: collection }, { promoteValues: false, bsonRegExp: true })
    .toArray()
  const options = (info as CollectionInfo | undefined)?.options as Partial<Rules> | undefined
  return {
    validator: options?.validator ?? {},
    validationLevel: options?.validationLevel,
    validationAction: options?.validationAction,
  }
}

async function collMod(store: Store, collection: string, rules: Partial<Rules>): Promise<void> {
  try {
    const change = { collMod: collection, ...rules, writeConcern: { w: 'majority' } }
    await store.db.command(change, { ignoreUndefined: true })
  } catch (error) {
    if (serverCode(error) === serverCodes.namespaceNotFound) {
      await store.db.createCollection(collection, { ...(rules as object) })
      return
    }
    if (isRefused(error)) throw noFence(collection, 'this user may not use collMod', error)
    throw error
  }
}

function noFence(collection: string, why: string, cause?: unknown): KeyturnError {
  return new KeyturnError(
    'no-fence',
    `no fence can be raised on collection '${collection}': ${why}`,
    {
      hint: 'grant collMod and let its rules be enforced, or remove with --without-fence',
      cause,
    },
  )
}
