import { BSON } from 'mongodb'

/** Reads the elements of a BSON document over its bytes, without decoding their values (raw-values.ts does). */

/** One element of a document, over the document's memory. */
export interface RawElement {
  readonly name: string
  readonly type: number
  readonly bytes: Buffer
}

/** BSON 1.1, https://bsonspec.org/spec.html */
export const bsonTypes = {
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
    if (found.type !== bsonTypes.document) return null
    here = rawElements(found.bytes)
  }
  return null
}

/** Exactly the same type and bytes. */
export function sameElement(one: RawElement, other: RawElement): boolean {
  return one.type === other.type && one.bytes.equals(other.bytes)
}

function bufferOver(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
