import { isUtf8 } from 'node:buffer'
import {
  Binary,
  BSON,
  BSONRegExp,
  BSONSymbol,
  Code,
  Decimal128,
  Double,
  Int32,
  Long,
  MaxKey,
  MinKey,
  ObjectId,
  Timestamp,
} from 'mongodb'
import { bsonTypes, rawElements, sameElement, type RawElement } from './raw-bson.ts'

/**
 * Decodes BSON values in a form that returns to the server unchanged. The driver does not do that even unpromoted:
 * JavaScript reorders sub-documents with integer-like keys, and `$ref` documents become DBRefs. Here numbers stay `Int32`,
 * `Long` and `Double`, and sub-documents are `Map`s.
 */

/** A string's text follows its length. */
const lengthBytes = 4

/** Binary's subtype that repeats its length inside. */
const oldBinary = 2

/** A value without a JavaScript form that would be stored as the same bytes. */
export class NotFaithful extends Error {
  override readonly name = 'NotFaithful'
}

/** The value of an element; throws `NotFaithful` for the few that cannot be returned unchanged. */
export function rawValue(element: RawElement): unknown {
  const value = decode(element)
  if (!alwaysFaithful.has(element.type) && !isSame(value, element)) {
    throw new NotFaithful(`a value of BSON type ${element.type} cannot be given back as it came`)
  }
  return value
}

/** The value of an element, or `otherwise` if it has no faithful form. Never throws. */
export function rawValueOr(element: RawElement, otherwise: unknown): unknown {
  try {
    return decode(element)
  } catch {
    return otherwise
  }
}

/** A sub-document's members, one level deep, each as `rawNearest` gives it. Never throws. */
export function rawMembers(element: RawElement, longest: number): unknown {
  if (element.type !== bsonTypes.document) return rawNearest(element, longest)
  const members: Record<string, unknown> = {}
  for (const member of rawElements(element.bytes))
    members[member.name] = rawNearest(member, longest)
  return members
}

/** The value in the nearest available form; `{bytes: n}` if it is too long. Never throws. */
export function rawNearest(element: RawElement, longest: number): unknown {
  const size = element.bytes.length + documentOfOne
  if (size > longest) return { bytes: size }
  const value = rawValueOr(element, undefined)
  return value === undefined ? new Binary(Buffer.from(element.bytes)) : value
}

/** Of `{v: …}` without the value: length, type, name, and the closing zero. */
const documentOfOne = 8

/** The element that a value would be stored as. */
export function elementOf(value: unknown): RawElement {
  const [element] = rawElements(BSON.serialize({ v: value }))
  if (element === undefined) throw new NotFaithful('a value cannot be stored')
  return element
}

/** These types always return unchanged; the others are checked each time. */
const alwaysFaithful = new Set<number>([
  bsonTypes.objectId,
  bsonTypes.boolean,
  bsonTypes.null,
  bsonTypes.int32,
  bsonTypes.int64,
  bsonTypes.timestamp,
  bsonTypes.decimal128,
  bsonTypes.minKey,
  bsonTypes.maxKey,
])

function isSame(value: unknown, element: RawElement): boolean {
  if (element.type === bsonTypes.string) return isUtf8(element.bytes.subarray(lengthBytes))
  try {
    return sameElement(elementOf(value), element)
  } catch {
    return false
  }
}

function decode({ type, bytes }: RawElement): unknown {
  switch (type) {
    case bsonTypes.double:
      return new Double(bytes.readDoubleLE())
    case bsonTypes.string:
      return textOf(bytes)
    case bsonTypes.document:
      return new Map(rawElements(bytes).map((member) => [member.name, decode(member)]))
    case bsonTypes.array:
      return rawElements(bytes).map(decode)
    case bsonTypes.binary:
      return binaryOf(bytes)
    case bsonTypes.objectId:
      return new ObjectId(Buffer.from(bytes))
    case bsonTypes.boolean:
      return bytes[0] === 1
    case bsonTypes.date:
      return new Date(Number(bytes.readBigInt64LE()))
    case bsonTypes.null:
      return null
    case bsonTypes.int32:
      return new Int32(bytes.readInt32LE())
    case bsonTypes.int64:
      return Long.fromBigInt(bytes.readBigInt64LE())
    case bsonTypes.decimal128:
      return new Decimal128(Buffer.from(bytes))
    default:
      return decodeRare(type, bytes)
  }
}

function decodeRare(type: number, bytes: Buffer): unknown {
  switch (type) {
    case bsonTypes.timestamp:
      return new Timestamp(Long.fromBigInt(bytes.readBigInt64LE()).toUnsigned())
    case bsonTypes.code:
      return new Code(textOf(bytes))
    case bsonTypes.symbol:
      return new BSONSymbol(textOf(bytes))
    case bsonTypes.regExp: {
      const end = bytes.indexOf(0)
      return new BSONRegExp(
        bytes.toString('utf8', 0, end),
        bytes.toString('utf8', end + 1, bytes.length - 1),
      )
    }
    case bsonTypes.minKey:
      return new MinKey()
    case bsonTypes.maxKey:
      return new MaxKey()
    default:
      // undefined, DBPointer and code with scope are deprecated, and this driver writes them as something else.
      throw new NotFaithful(`BSON type ${type} cannot be given back as it came`)
  }
}

/** A string after its length, without the closing zero. */
function textOf(bytes: Buffer): string {
  return bytes.toString('utf8', lengthBytes, bytes.length - 1)
}

/** Subtype 2 without its inner length, which the serialiser adds again. */
function binaryOf(bytes: Buffer): Binary {
  const subtype = bytes[4] ?? 0
  const payload = bytes.subarray(subtype === oldBinary ? 9 : 5)
  return new Binary(Buffer.from(payload), subtype)
}
