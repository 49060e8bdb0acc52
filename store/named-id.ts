import { hash } from 'node:crypto'
import { Binary } from 'mongodb'
import { KeyturnError } from '../contracts/errors.ts'
import { idBytesFromElement } from '../envelope/record-id.ts'
import type { Bound } from './documents.ts'
import type { RawElement } from './raw-bson.ts'
import { NotFaithful, rawValue } from './raw-values.ts'

/** An `_id` as it is read, and how a filter or a bound names it. */
export interface NamedId {
  /**
   * For use in filters: numbers as `Int32`, `Long`, `Double`, sub-documents as `Map`. For the few types that this driver
   * cannot return unchanged (undefined, DBPointer, far dates), and for an `_id` that is too long for a bound: a binary of
   * `idBytes`, which matches no record, so that such an envelope ends as `id-unsupported`.
   */
  id: unknown
  /** The same for the AAD (envelope/record-id.ts), from the raw bytes; their digest if the `_id` is too long. */
  idBytes: Buffer
  /** False if the binary stands for it. */
  isNamed: boolean
}

/** A range document holds three bounds, and MongoDB limits a document to 16 MB. */
const longestId = 4 * 2 ** 20

export function namedId(element: RawElement): NamedId {
  const bound = boundAt(element)
  if (bound !== null) return { id: bound.v, idBytes: idBytesFromElement(element), isNamed: true }
  const idBytes = bytesOfUnnamed(element)
  return { id: new Binary(idBytes), idBytes, isNamed: false }
}

/** Null for an `_id` that cannot be named. */
export function boundAt(element: RawElement): Bound | null {
  if (element.bytes.length > longestId) return null
  try {
    return { v: rawValue(element) }
  } catch (error) {
    if (error instanceof NotFaithful) return null
    throw error
  }
}

/** The element `_id` of a record. */
export function idOf(elements: readonly RawElement[]): RawElement {
  const id = elements.find(({ name }) => name === '_id')
  if (id === undefined) throw new KeyturnError('internal', 'a record came without _id')
  return id
}

function bytesOfUnnamed(element: RawElement): Buffer {
  if (element.bytes.length > longestId) return hash('sha256', element.bytes, 'buffer')
  try {
    return idBytesFromElement(element)
  } catch {
    return Buffer.from([element.type, ...element.bytes])
  }
}
