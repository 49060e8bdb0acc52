import { Binary, Decimal128, Int32, Long, ObjectId, type Document } from 'mongodb'
import fc from 'fast-check'
import { anyValue } from './odd.ts'

/** Documents of which one member is anything, or missing. */

const missing = Symbol('missing')

function nested(depth: number): Document {
  return depth === 0 ? {} : { a: nested(depth - 1) }
}

/** Any value for a member, and its absence. */
export const anything = fc.oneof(
  { arbitrary: anyValue, weight: 6 },
  fc.constantFrom<unknown>(
    ...[missing, 'x'.repeat(1_000_000), new Binary(Buffer.alloc(1_000_000)), nested(90)],
    ...[new Date(NaN), new Date(8.64e15), NaN, -1, '', { $ref: 'a', $id: new ObjectId() }],
    ...[Long.fromString('9007199254740993'), Decimal128.fromString('1.5'), new Int32(-2)],
    ...[Array.from({ length: 20_000 }, () => 'x'), { toString: 1, constructor: null }],
  ),
)

/** Dotted paths of all members, but `_id`. */
export function pathsOf(document: Document, under = ''): string[] {
  return Object.entries(document).flatMap(([name, value]) => {
    if (under === '' && name === '_id') return []
    const path = under + name
    const isPlain = typeof value === 'object' && value !== null && !('_bsontype' in value)
    if (!isPlain || value instanceof Date) return [path]
    return [path, ...pathsOf(value as Document, `${path}.`)]
  })
}

/** A copy with another value at the path. */
export function changed(document: Document, path: string, value: unknown): Document {
  const [first = '', ...rest] = path.split('.')
  const copy: Document = Array.isArray(document) ? [...(document as unknown[])] : { ...document }
  if (rest.length > 0) copy[first] = changed(document[first] as Document, rest.join('.'), value)
  else if (value === missing) Reflect.deleteProperty(copy, first)
  else copy[first] = value
  return copy
}
