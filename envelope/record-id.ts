import { BSON } from 'mongodb'
import { KeyturnError } from '../contracts/errors.ts'

/**
 * The bytes that stand for a record's `_id` in the AAD: a tag byte and bytes, the same whichever driver read the
 * record (docs/envelope.md). A value is first serialised as the driver would store it, then read as stored bytes. So a
 * value and its stored form cannot differ, and one type cannot pass for another.
 */
const bsonType = { double: 1, string: 2, binary: 5, objectId: 7, date: 9, int32: 16, int64: 18 }
const tags = { string: 0x02, other: 0x03, binary: 0x05, objectId: 0x07, date: 0x09, integer: 0x12 }
const oldBinary = 2
/** Integral doubles at or beyond ±2^63 have no int64 form; -2^63 itself has one. */
const int64End = 2 ** 63

/**
 * Tag byte and bytes of a record id: string, ObjectId, Binary, UUID, Buffer, Uint8Array, Date, number, bigint, Int32,
 * Long, Double, Decimal128, Map, plain object, or anything else that MongoDB can hold. Throws `id-unsupported` for what
 * it cannot. A sub-document that a driver re-typed or reordered is no longer what is stored: use `idBytesFromRaw`.
 */
export function idBytes(id: unknown): Buffer {
  refuseUnstorable(id)
  let document: Uint8Array
  try {
    document = BSON.serialize({ _id: id })
  } catch (cause) {
    throw unsupported('a record id cannot be written as BSON', cause)
  }
  return idBytesFromRaw(document)
}

/** The same from a stored BSON document, whose `_id` is taken unchanged. */
export function idBytesFromRaw(document: Uint8Array): Buffer {
  const bytes = Buffer.from(document.buffer, document.byteOffset, document.byteLength)
  return idBytesFromElement(findId(bytes))
}

/** The same from the `_id` element alone: its BSON type, and its value's bytes as stored. */
export function idBytesFromElement({
  type,
  bytes: value,
}: {
  type: number
  bytes: Buffer
}): Buffer {
  switch (type) {
    case bsonType.string:
      return tagged(tags.string, value.subarray(4, -1))
    case bsonType.objectId:
      return tagged(tags.objectId, value)
    case bsonType.binary:
      return tagged(tags.binary, binaryPayload(value))
    case bsonType.date:
      return tagged(tags.date, int64(value.readBigInt64LE()))
    case bsonType.int32:
      return tagged(tags.integer, int64(BigInt(value.readInt32LE())))
    case bsonType.int64:
      return tagged(tags.integer, int64(value.readBigInt64LE()))
    case bsonType.double: {
      const number = value.readDoubleLE()
      if (Number.isInteger(number) && number >= -int64End && number < int64End) {
        return tagged(tags.integer, int64(BigInt(number)))
      }
      return tagged(tags.other, idDocument(type, value))
    }
    default:
      return tagged(tags.other, idDocument(type, value))
  }
}

function findId(bytes: Buffer): { type: number; bytes: Buffer } {
  let elements: ReturnType<typeof BSON.onDemand.parseToElements>
  try {
    elements = BSON.onDemand.parseToElements(bytes)
  } catch (cause) {
    throw unsupported('the record is not valid BSON', cause)
  }
  for (const [type, nameAt, nameLength, offset, length] of elements) {
    if (nameLength === 3 && bytes.toString('latin1', nameAt, nameAt + 3) === '_id') {
      return { type, bytes: bytes.subarray(offset, offset + length) }
    }
  }
  throw unsupported('the record has no _id')
}

/** Subtype byte and payload. BSON repeats the length inside subtype 2, which drivers of other languages hide. */
function binaryPayload(value: Buffer): Buffer {
  const subtype = value.subarray(4, 5)
  const payload = value.subarray(5)
  if (subtype[0] !== oldBinary) return Buffer.concat([subtype, payload])
  if (payload.length < 4 || payload.readInt32LE() !== payload.length - 4) {
    throw unsupported('the record id is binary of subtype 2 with a wrong inner length')
  }
  return Buffer.concat([subtype, payload.subarray(4)])
}

/** The BSON document `{_id: value}` around a value's stored bytes. */
function idDocument(type: number, value: Buffer): Buffer {
  const document = Buffer.alloc(4 + 1 + 4 + value.length + 1)
  document.writeInt32LE(document.length)
  document.writeUInt8(type, 4)
  document.write('_id\0', 5, 'latin1')
  value.copy(document, 9)
  return document
}

function tagged(tag: number, bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.of(tag), bytes])
}

function int64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(value)
  return bytes
}

/** Refuses values that the serialiser would silently store as something else: null, nothing, 1970, a wrapped integer. */
function refuseUnstorable(id: unknown): void {
  const type = typeof id
  if (type === 'undefined' || type === 'function' || type === 'symbol') {
    throw unsupported(`a record id cannot be of type "${type}"`)
  }
  if (typeof id === 'bigint' && BigInt.asIntN(64, id) !== id) {
    throw unsupported(`a record id of "${id}" is not a 64-bit integer`)
  }
  if (id instanceof Date && Number.isNaN(id.getTime())) {
    throw unsupported('a record id is an invalid date')
  }
}

function unsupported(message: string, cause?: unknown): KeyturnError {
  return new KeyturnError('id-unsupported', message, {
    hint: 'give the id as it is stored in _id: see docs/envelope.md',
    cause,
  })
}
