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

/**
 * Values straight from a BSON document's bytes, in the form in which they go back to the server as they came. The
 * driver's own reading does not do that even unpromoted: sub-documents with integer-like keys are reordered by
 * JavaScript, `$ref` documents become DBRefs. So: numbers stay `Int32`, `Long` and `Double`, sub-documents are `Map`s.
 */

/** One element of a document, over the document's memory. */
export interface RawElement {
  readonly name: string
  readonly type: number
  readonly bytes: Buffer
}

/** BSON 1.1, https://bsonspec.org/spec.html */
const types = {
  double: 1,
  string: 2,
  document: 3,
  array: 4,
  binary: 5,
  undefined: 6,
  objectId: 7,
  boolean: 8,
  date: 9,
  null: 10,
  regExp: 11,
  dbPointer: 12,
  code: 13,
  symbol: 14,
  codeWithScope: 15,
  int32: 16,
  timestamp: 17,
  int64: 18,
  decimal128: 19,
  minKey: 255,
  maxKey: 127,
} as const

/** Binary's subtype that repeats its length inside. */
const oldBinary = 2

/** A value that has no form in JavaScript that would be stored as the same bytes again. */
export class NotFaithful extends Error {
  override readonly name = 'NotFaithful'
}

export function rawElements(document: Uint8Array): RawElement[] {
  const bytes = bufferOver(document)
  const elements: RawElement[] = []
  for (const [type, nameAt, nameLength, at, length] of BSON.onDemand.parseToElements(bytes)) {
    elements.push({
      name: bytes.toString('utf8', nameAt, nameAt + nameLength),
      type,
      bytes: bytes.subarray(at, at + length),
    })
  }
  return elements
}

/** A document of these elements. */
export function rawDocument(elements: readonly RawElement[]): Buffer {
  const parts = elements.flatMap(({ type, name, bytes }) => [
    Buffer.of(type),
    Buffer.from(`${name}\0`),
    bytes,
  ])
  const length = Buffer.alloc(4)
  length.writeInt32LE(parts.reduce((sum, part) => sum + part.length, 5))
  return Buffer.concat([length, ...parts, Buffer.of(0)])
}

/**
 * The element at a dotted path of sub-documents; null when there is none, also when the path meets an array. Of a
 * document, or of its elements where several are asked for.
 */
export function rawAt(
  document: Uint8Array | readonly RawElement[],
  path: string,
): RawElement | null {
  let here = document instanceof Uint8Array ? rawElements(document) : document
  const parts = path.split('.')
  for (const [depth, part] of parts.entries()) {
    const found = here.find(({ name }) => name === part) ?? null
    if (found === null || depth === parts.length - 1) return found
    if (found.type !== types.document) return null
    here = rawElements(found.bytes)
  }
  return null
}

/** The value of an element; throws `NotFaithful` for the few that cannot be given back as they came. */
export function rawValue(element: RawElement): unknown {
  const value = decode(element)
  if (!alwaysFaithful.has(element.type) && !isSame(value, element)) {
    throw new NotFaithful(`a value of BSON type ${element.type} cannot be given back as it came`)
  }
  return value
}

/** A sub-document's members for the eye, one level deep, each in the nearest form that there is. Never throws. */
export function rawMembers(element: RawElement): unknown {
  if (element.type !== types.document) return decodeOr(element)
  const members: Record<string, unknown> = {}
  for (const member of rawElements(element.bytes)) members[member.name] = decodeOr(member)
  return members
}

/** Exactly the same type and bytes. */
export function sameElement(one: RawElement, other: RawElement): boolean {
  return one.type === other.type && one.bytes.equals(other.bytes)
}

/** The element that a value would be stored as. */
export function elementOf(value: unknown): RawElement {
  const [element] = rawElements(BSON.serialize({ v: value }))
  if (element === undefined) throw new NotFaithful('a value cannot be stored')
  return element
}

/** These go back as they came whatever their bytes are; the others are proved each time. */
const alwaysFaithful = new Set<number>([
  types.objectId,
  types.boolean,
  types.null,
  types.int32,
  types.int64,
  types.timestamp,
  types.decimal128,
  types.minKey,
  types.maxKey,
])

function isSame(value: unknown, element: RawElement): boolean {
  if (element.type === types.string) return isUtf8(element.bytes)
  try {
    return sameElement(elementOf(value), element)
  } catch {
    return false
  }
}

function decodeOr(element: RawElement): unknown {
  try {
    return decode(element)
  } catch {
    return new Binary(Buffer.from(element.bytes))
  }
}

function decode({ type, bytes }: RawElement): unknown {
  switch (type) {
    case types.double:
      return new Double(bytes.readDoubleLE())
    case types.string:
      return textOf(bytes)
    case types.document:
      return new Map(rawElements(bytes).map((member) => [member.name, decode(member)]))
    case types.array:
      return rawElements(bytes).map(decode)
    case types.binary:
      return binaryOf(bytes)
    case types.objectId:
      return new ObjectId(Buffer.from(bytes))
    case types.boolean:
      return bytes[0] === 1
    case types.date:
      return new Date(Number(bytes.readBigInt64LE()))
    case types.null:
      return null
    case types.int32:
      return new Int32(bytes.readInt32LE())
    case types.int64:
      return Long.fromBigInt(bytes.readBigInt64LE())
    case types.decimal128:
      return new Decimal128(Buffer.from(bytes))
    default:
      return decodeRare(type, bytes)
  }
}

function decodeRare(type: number, bytes: Buffer): unknown {
  switch (type) {
    case types.timestamp:
      return new Timestamp(Long.fromBigInt(bytes.readBigInt64LE()).toUnsigned())
    case types.code:
      return new Code(textOf(bytes))
    case types.symbol:
      return new BSONSymbol(textOf(bytes))
    case types.regExp: {
      const end = bytes.indexOf(0)
      return new BSONRegExp(
        bytes.toString('utf8', 0, end),
        bytes.toString('utf8', end + 1, bytes.length - 1),
      )
    }
    case types.minKey:
      return new MinKey()
    case types.maxKey:
      return new MaxKey()
    default:
      // undefined, DBPointer and code with scope are deprecated, and this driver writes them as something else.
      throw new NotFaithful(`BSON type ${type} cannot be given back as it came`)
  }
}

/** A string behind its length, without the closing zero. */
function textOf(bytes: Buffer): string {
  return bytes.toString('utf8', 4, bytes.length - 1)
}

/** Of subtype 2 without its inner length, which the serialiser puts in again. */
function binaryOf(bytes: Buffer): Binary {
  const subtype = bytes[4] ?? 0
  const payload = bytes.subarray(subtype === oldBinary ? 9 : 5)
  return new Binary(Buffer.from(payload), subtype)
}

function bufferOver(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
