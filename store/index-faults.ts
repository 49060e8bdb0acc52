import type { Document } from 'mongodb'
import type { CollectionConfig } from '../contracts/settings.ts'
import { layoutIn, type Layout } from '../envelope/layout.ts'
import { oddIndex, versionIndex } from './presence.ts'
import { isMissingCollection, isViewRefusal } from './server-errors.ts'
import type { Store } from './store.ts'

/**
 * Decides whether an index is usable, for setup, doctor, preflight and the walks. An index of any name is usable if it has
 * exactly the wanted key, covers the wanted records, compares byte by byte, is not hidden and not still being built. It may
 * be unique, because `_id` is part of each key.
 */
export interface WantedIndex {
  /** The name that `setup` gives it. */
  readonly name: string
  readonly key: Readonly<Record<string, 1>>
  /** The records that it covers; absent for all. */
  readonly partialFilterExpression?: Document
}

/** An index as MongoDB lists it. */
export interface FoundIndex {
  readonly name: string
  readonly spec: Document
  readonly isBuilding: boolean
}

/** A field without a usable index. */
export interface IndexFault {
  /** `collection.field`. */
  readonly place: string
  /** What is wrong, as a sentence. */
  readonly why: string
  readonly hint: string
  /** True if `setup` cannot create its own index beside the existing ones. */
  readonly isInTheWay: boolean
  /** True if it becomes usable once it is built. */
  readonly isBuilding?: true
}

/** MongoDB's limit of indexes per collection. */
const mostIndexes = 64

/** The indexes that walk, census and sweep of a field use. */
export function wantedIndexes(layout: Layout): { version: WantedIndex; odd: WantedIndex } {
  const key = versionIndex(layout)
  const name = Object.entries(key)
    .map(([path, order]) => `${path}_${order}`)
    .join('_')
  return { version: { key, name }, odd: oddIndex(layout) }
}

/** All indexes of a collection, including those being built; empty if there is no collection, or a view. */
export async function listIndexes(store: Store, collection: string): Promise<FoundIndex[]> {
  try {
    const answer = await store.db.command({
      listIndexes: collection,
      cursor: { batchSize: 1_000 },
      includeBuildUUIDs: true,
    })
    const { firstBatch } = answer['cursor'] as { firstBatch: Document[] }
    return firstBatch.map((listed) => {
      const isBuilding = listed['spec'] !== undefined
      const spec = (isBuilding ? listed['spec'] : listed) as Document
      return { name: String(spec['name']), spec, isBuilding }
    })
  } catch (error) {
    if (isMissingCollection(error) || isViewRefusal(error)) return []
    throw error
  }
}

/** The usable index; null if there is none. */
export function servingIndex(found: readonly FoundIndex[], wanted: WantedIndex): FoundIndex | null {
  const fit = found.filter((index) => oddities(index, wanted).length === 0)
  return fit.find(({ name }) => name === wanted.name) ?? fit[0] ?? null
}

/** Fields without a usable index, one entry per field and index, with a hint. */
export async function indexFaults(
  store: Store,
  collections: readonly CollectionConfig[],
): Promise<IndexFault[]> {
  const faults: IndexFault[] = []
  for (const { name, envelopes } of collections) {
    const found = await listIndexes(store, name)
    for (const field of envelopes) {
      for (const wanted of Object.values(wantedIndexes(layoutIn(collections, name, field)))) {
        const fault = faultOf(found, wanted, { collection: name, field })
        if (fault !== null) faults.push(fault)
      }
    }
  }
  return faults
}

/** Null if one is usable. */
export function faultOf(
  found: readonly FoundIndex[],
  wanted: WantedIndex,
  { collection, field }: { collection: string; field: string },
): IndexFault | null {
  if (servingIndex(found, wanted) !== null) return null
  const place = `${collection}.${field}`
  const inTheWay = (why: string, hint: string) => ({ place, why, hint, isInTheWay: true })
  const near = found.filter(
    ({ name, spec }) => name === wanted.name || sameJson(spec['key'], wanted.key),
  )
  for (const index of near) {
    const named = `index "${index.name}" on "${collection}"`
    const odd = oddities(index, wanted)
    if (odd.length === 1 && index.isBuilding) {
      const hint =
        'wait for it: db.currentOp() shows how far it is; a member that is down may hold it up'
      const why = `${named} is still being built`
      return { place, why, hint, isInTheWay: false, isBuilding: true }
    }
    if (odd.length === 1 && index.spec['hidden'] === true) {
      return inTheWay(`${named} is hidden`, `show it: ${unhidden(collection, index.name)}`)
    }
    if (index.name === wanted.name) {
      return inTheWay(
        `${named} does not serve: it ${odd.join(', ')}`,
        `drop it: ${dropped(collection, index.name)}, then run: keyturn setup`,
      )
    }
  }
  if (found.length >= mostIndexes) {
    return inTheWay(
      `"${collection}" lacks the index "${wanted.name}", and has ${found.length} indexes, as many as mongodb allows`,
      `drop one that is not needed: db.getCollection("${collection}").dropIndex(NAME), then run: keyturn setup`,
    )
  }
  const others = near.map((index) => `"${index.name}" ${oddities(index, wanted).join(', ')}`)
  const beside = others.length === 0 ? '' : `, and ${others.join('; ')}`
  const why = `"${collection}" lacks the index "${wanted.name}"${beside}`
  return { place, why, hint: 'run: keyturn setup', isInTheWay: false }
}

/** `dropIndex` for MongoDB's shell. */
export function dropped(collection: string, index: string): string {
  return `db.getCollection("${collection}").dropIndex("${index}")`
}

function unhidden(collection: string, name: string): string {
  return `db.runCommand({ collMod: "${collection}", index: { name: "${name}", hidden: false } })`
}

/** Why an index is not usable, each as the end of a sentence; empty if it is usable. */
function oddities({ spec, isBuilding }: FoundIndex, wanted: WantedIndex): string[] {
  const { key, partialFilterExpression: covers, collation, sparse, hidden } = spec
  const locale: unknown = (collation as Document | undefined)?.['locale'] ?? 'simple'
  const isCovering =
    covers === undefined || wanted.partialFilterExpression === undefined
      ? covers === wanted.partialFilterExpression
      : sameJson(covers, wanted.partialFilterExpression)
  return [
    ...(sameJson(key, wanted.key) ? [] : [`has the key ${JSON.stringify(key)}`]),
    ...(isCovering ? [] : [covers === undefined ? 'is not partial' : 'covers other records']),
    ...(sparse === true ? ['is sparse'] : []),
    ...(locale === 'simple' ? [] : [`has the collation "${String(locale)}"`]),
    ...(hidden === true ? ['is hidden'] : []),
    ...(isBuilding ? ['is still being built'] : []),
  ]
}

/** The order of members counts: it defines a key. */
function sameJson(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}
