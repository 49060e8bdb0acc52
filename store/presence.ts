import { createHash } from 'node:crypto'
import type { Document } from 'mongodb'
import { asInteger } from '../envelope/bson-values.ts'
import { maxKekVersion } from '../envelope/envelope.ts'
import type { Layout } from '../envelope/layout.ts'
import { bsonTypes, rawAt, rawElements, type RawElement } from './raw-bson.ts'
import { rawValueOr } from './raw-values.ts'

/**
 * The one definition of "an envelope is here" (docs/envelope.md), as a MongoDB expression and for documents in memory.
 * Census, sweep, quarantine, scan, guards and setup all use this file.
 *
 * An envelope is there when its field is present and not null; of a declared layout, when the path of the version or of the
 * wrapped DEK is. A scalar or null on the way to a dotted path means that there is none. An array on the way means one odd
 * envelope for the document. Its version is an integral number of any BSON type from 1 to 2^31 - 1, and all parts that a
 * rotation reads are present and not null; otherwise it is odd: the key that it needs is unknown, so it never counts as
 * zero.
 *
 * MongoDB finds odd envelopes by two indexes. An envelope whose version is a number but not a valid version is in the
 * version index. All others are in a partial index over `oddCandidates`, which is empty where nothing is odd.
 */
export type Presence = 'none' | 'odd' | number

/** The value at a path: an element, nothing (`none`), or an array on the way. */
type Found = RawElement | 'none' | 'array'

/** Presence of a raw record, or of its elements on the layout's paths. */
export function presenceOf(document: Uint8Array | readonly RawElement[], layout: Layout): Presence {
  const elements = document instanceof Uint8Array ? rawElements(document) : document
  const anchors = anchorsOf(layout).map((path) => at(elements, path))
  if (anchors.includes('array')) return 'odd'
  if (anchors.every((found) => found === 'none')) return 'none'
  const parts = layout.paths.map((path) => at(elements, path))
  if (parts.some((found) => typeof found === 'string')) return 'odd'
  const version = rawAt(elements, layout.version)
  return (version === null ? null : asVersion(rawValueOr(version, null))) ?? 'odd'
}

/** The value as a version, or null when it is not one. Numbers may be promoted or not. */
export function asVersion(value: unknown): number | null {
  const version = asInteger(value)
  return version === null || version < 1 || version > maxKekVersion ? null : version
}

/** The same as an expression of MongoDB: null where there is none, `odd`, or the version as an int. */
export function presenceExpression(layout: Layout): Document {
  const { declared, field, version, paths } = layout
  const anchors = anchorsOf(layout).map(stateAt)
  const path = `$${version}`
  const isVersion = {
    $and: [
      { $isNumber: path },
      { $gte: [path, 1] },
      { $lte: [path, maxKekVersion] },
      { $eq: [path, { $trunc: path }] },
    ],
  }
  const isWhole = { $and: paths.map((part) => ({ $eq: [stateAt(part), 'here'] })) }
  const branches = [
    { case: { $or: anchors.map((state) => ({ $eq: [state, 'array'] })) }, then: 'odd' },
    { case: { $and: anchors.map((state) => ({ $eq: [state, 'none'] })) }, then: null },
    ...(declared === null ? [{ case: isOtherThan(field, 'object'), then: 'odd' }] : []),
    { case: { $not: isWhole }, then: 'odd' },
    { case: isVersion, then: { $toInt: path } },
  ]
  return { $switch: { branches, default: 'odd' } }
}

/**
 * A superset of the records whose envelope is odd, except those with an invalid number as version; `presenceExpression`
 * decides. Uses only operators that a partial index may have (MongoDB 6.0 and later).
 */
export function oddCandidates(layout: Layout): Document {
  const { version, paths } = layout
  const anchors = anchorsOf(layout)
  const lacking = anchors.flatMap((anchor) =>
    paths
      .filter((part) => part !== anchor)
      .map((part) => ({ [anchor]: { $exists: true }, [part]: null })),
  )
  const arrays = [...anchors, ...paths].flatMap((path) => prefixesOf(path))
  if (layout.declared === null) arrays.push(layout.field)
  return {
    $or: [
      ...[...new Set(arrays)].map((path) => ({ [path]: { $type: 'array' } })),
      ...lacking,
      { [version]: { $type: notNumbers } },
      { [version]: NaN },
    ],
  }
}

/** The index that page reads, census and sweep use; `setup` creates it. */
export function versionIndex({ version }: Layout): Record<string, 1> {
  return { [version]: 1, _id: 1 }
}

/** The partial index over `oddCandidates`; `setup` creates it. Its name depends on the layout. */
export function oddIndex(layout: Layout): {
  key: Record<string, 1>
  name: string
  partialFilterExpression: Document
} {
  const partialFilterExpression = oddCandidates(layout)
  const digest = createHash('sha256').update(JSON.stringify(partialFilterExpression)).digest('hex')
  return {
    key: { _id: 1, [layout.version]: 1 },
    name: `keyturn_odd_${digest.slice(0, 16)}`,
    partialFilterExpression,
  }
}

/** No part of a wrap is longer; in bytes of `{v: value}` as BSON. */
export const longestPart = 1_024

/** The value at a path, or `{bytes: n}` instead of one that is longer than any part of a wrap. */
export function boundedPart(path: string): Document {
  const size = { $bsonSize: { v: `$${path}` } }
  return { $cond: [{ $lte: [size, longestPart] }, `$${path}`, { bytes: size }] }
}

/** What an odd envelope looks like, bounded: quarantine remembers its digest. */
export function visibleFields(layout: Layout): Document {
  const { declared, field, paths } = layout
  const parts = paths.map((path, index) => [`p${index}`, boundedPart(path)] as const)
  const whole = declared === null ? [['at', boundedWhole(field)] as const] : []
  return Object.fromEntries([...whole, ...parts])
}

function boundedWhole(field: string): Document {
  return { $cond: [isOtherThan(field, 'object'), boundedPart(field), null] }
}

/** An envelope is present when one of these paths has a value. */
function anchorsOf({ declared, field, version, wrapped }: Layout): string[] {
  return declared === null ? [field] : [version, wrapped]
}

function at(elements: readonly RawElement[], path: string): Found {
  for (const prefix of prefixesOf(path)) {
    const found = rawAt(elements, prefix)
    if (found?.type === bsonTypes.array) return 'array'
    if (found?.type !== bsonTypes.document) return 'none'
  }
  const found = rawAt(elements, path)
  const isUnset = found === null || found.type === bsonTypes.null
  return isUnset || found.type === bsonTypes.undefined ? 'none' : found
}

/** `array` or `none` on the way, else `none` or `here`. */
function stateAt(path: string): Document {
  const onTheWay = prefixesOf(path).flatMap((prefix) => [
    { case: { $eq: [{ $type: `$${prefix}` }, 'array'] }, then: 'array' },
    { case: isOtherThan(prefix, 'object'), then: 'none' },
  ])
  const isUnset = { $in: [{ $type: `$${path}` }, ['missing', 'null', 'undefined']] }
  return { $switch: { branches: [...onTheWay, { case: isUnset, then: 'none' }], default: 'here' } }
}

function isOtherThan(path: string, type: string): Document {
  return { $ne: [{ $type: `$${path}` }, type] }
}

/** `a.b.c` gives `a` and `a.b`. */
function prefixesOf(path: string): string[] {
  const parts = path.split('.')
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('.'))
}

/** All BSON types except numbers. */
const notNumbers = [
  'object',
  'array',
  'string',
  'binData',
  'undefined',
  'objectId',
  'bool',
  'date',
  'null',
  'regex',
  'dbPointer',
  'javascript',
  'symbol',
  'javascriptWithScope',
  'timestamp',
  'minKey',
  'maxKey',
]
