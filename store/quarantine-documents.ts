import { Binary, BSON, type Document } from 'mongodb'
import { collections } from '../contracts/names.ts'
import { idBytesFromRaw } from '../envelope/record-id.ts'
import type { QuarantineDoc, QuarantineId } from './documents.ts'
import { quarantineSchema } from './keystore-schemas.ts'
import { malformed, memberAmiss } from './own-documents.ts'
import { bsonTypes, rawAt, rawDocument, rawElements, type RawElement } from './raw-bson.ts'
import { rawValue, rawValueOr } from './raw-values.ts'

export interface QuarantineRow {
  /** `_id.id` as it is stored: numbers as `Int32`, `Long`, `Double`, sub-documents as `Map`. */
  doc: QuarantineDoc
  idBytes: Buffer
}

/**
 * Code of a malformed row. It stays in the list and the count, because it may stand for an envelope, and it matches no bytes:
 * the envelope counts in every census, and the next sweep that meets it rewrites the row.
 */
export const malformedRow = 'document-malformed'

export function readQuarantineDoc(document: Buffer): QuarantineRow {
  const elements = rawElements(document)
  const rest = elements.filter(({ name }) => name !== '_id')
  const doc = BSON.deserialize(rawDocument(rest), { validation: { utf8: false } })
  const place = placeOf(elements)
  const member = memberAmiss(quarantineSchema, doc) ?? (place === null ? '_id' : null)
  if (member === null && place !== null) {
    return {
      doc: { ...(doc as Omit<QuarantineDoc, '_id'>), _id: place._id },
      idBytes: place.idBytes,
    }
  }
  const own = rawAt(elements, '_id')
  const shown = own === null ? null : rawValueOr(own, null)
  const nowhere = { collection: '', id: shown, field: '' }
  return {
    doc: {
      ...standIn(doc, shown, member ?? '_id'),
      _id: place?._id ?? nowhere,
      malformed: { id: shown },
    },
    idBytes: place?.idBytes ?? Buffer.alloc(0),
  }
}

/** What can be read of it. */
function standIn(doc: Document, id: unknown, member: string): Omit<QuarantineDoc, '_id'> {
  const { kek_version, rotation, first_seen, attempts } = quarantineSchema.shape
  return {
    kek_version: kek_version.safeParse(doc['kek_version']).data ?? null,
    digest: new Binary(Buffer.alloc(0)),
    code: malformedRow,
    message: malformed(collections.quarantine, id, member).message,
    rotation: rotation.safeParse(doc['rotation']).data ?? null,
    first_seen: first_seen.safeParse(doc['first_seen']).data ?? new Date(0),
    attempts: attempts.safeParse(doc['attempts']).data ?? 0,
  }
}

function placeOf(elements: readonly RawElement[]): { _id: QuarantineId; idBytes: Buffer } | null {
  const id = rawAt(elements, '_id.id')
  const [collection, field] = ['_id.collection', '_id.field'].map((path) => textAt(elements, path))
  if (id === null || collection === undefined || field === undefined) return null
  if (collection === null || field === null) return null
  try {
    const idBytes = idBytesFromRaw(rawDocument([{ ...id, name: '_id' }]))
    return { _id: { collection, id: rawValue(id), field }, idBytes }
  } catch {
    return null
  }
}

function textAt(elements: readonly RawElement[], path: string): string | null {
  const element = rawAt(elements, path)
  return element?.type === bsonTypes.string ? String(rawValueOr(element, '')) : null
}
