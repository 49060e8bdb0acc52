import { BSON } from 'mongodb'
import type { Bound, RangeDoc } from './documents.ts'
import { rangeSchema } from './keystore-schemas.ts'
import { memberAmiss } from './own-documents.ts'
import { bsonTypes, rawAt, rawDocument, rawElements } from './raw-bson.ts'
import { rawValue, rawValueOr } from './raw-values.ts'

/** A malformed range document. */
export interface MalformedRange {
  /** Its `_id` as it goes back to the server, and as it is shown. */
  id: unknown
  shown: unknown
  member: string
}

const boundNames = ['min', 'max', 'cursor'] as const

/** The driver would re-type or refuse the bounds (raw-values.ts), so they are read from the bytes; the driver reads the rest. */
export function readRangeDoc(document: Buffer): RangeDoc | MalformedRange {
  const elements = rawElements(document)
  const rest = elements.filter(({ name }) => !boundNames.some((bound) => bound === name))
  const range = BSON.deserialize(rawDocument(rest), { validation: { utf8: false } }) as RangeDoc
  const bounds = boundNames.map((name) => [name, boundOf(document, name)] as const)
  const amiss = bounds.find(([, bound]) => bound === undefined)?.[0]
  const member = memberAmiss(rangeSchema, range) ?? amiss
  if (member === undefined) return { ...range, ...Object.fromEntries(bounds) }
  const id = rawAt(elements, '_id')
  return { id: id === null ? null : rawValueOr(id, null), shown: range._id, member }
}

/** Undefined if it is not a bound. */
function boundOf(document: Buffer, name: (typeof boundNames)[number]): Bound | null | undefined {
  const bound = rawAt(document, name)
  if (bound === null || bound.type === bsonTypes.null) return null
  if (bound.type !== bsonTypes.document) return undefined
  const [value, more] = rawElements(bound.bytes)
  if (value?.name !== 'v' || more !== undefined) return undefined
  try {
    return { v: rawValue(value) }
  } catch {
    return undefined
  }
}
