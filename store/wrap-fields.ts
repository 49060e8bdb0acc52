import type { Document } from 'mongodb'
import { asDocument } from '../envelope/bson-values.ts'
import { wrapFieldNames } from '../envelope/envelope.ts'
import type { Layout } from '../envelope/layout.ts'
import { asVersion, boundedPart, longestPart } from './presence.ts'
import { rawAt, type RawElement } from './raw-bson.ts'
import { rawMembers, rawNearest } from './raw-values.ts'

/** Reads a record's wrap fields and nothing else. Documents are raw, so that no driver re-types a wrap field. */

/** Projection of `_id` and the wrap fields: the data itself is never read. */
export function wrapProjection({ paths }: Layout): Document {
  return Object.fromEntries(['_id', ...paths].map((path) => [path, 1]))
}

/** The same without values that are longer than any part of a wrap. It takes MongoDB 1.5 times as long. */
export function boundedProjection({ paths }: Layout): Document {
  return { _id: 1, ...Object.fromEntries(paths.map((path) => [path, boundedPart(path)])) }
}

/** The wrap fields of a record as found; undefined if there is no envelope. */
export function wrapAt(document: Buffer | readonly RawElement[], layout: Layout): unknown {
  if (layout.declared === null) {
    const envelope = rawAt(document, layout.field)
    return envelope === null ? undefined : rawMembers(envelope, longestPart)
  }
  const found: Record<string, unknown> = {}
  const members = { kek_version: layout.version, dek_iv: layout.iv, dek_wrapped: layout.wrapped }
  for (const [name, path] of Object.entries(members)) {
    const element = path === null ? null : rawAt(document, path)
    if (element !== null) found[name] = rawNearest(element, longestPart)
  }
  return 'kek_version' in found || 'dek_wrapped' in found ? found : undefined
}

/** Whether a wrap has a version and all its parts: true for nearly all entries, and saves checking each part again. */
export function isWhole(wrap: unknown, layout: Layout): boolean {
  const members = asDocument(wrap)
  if (members === null || asVersion(members['kek_version']) === null) return false
  const names = layout.declared === null ? wrapFieldNames : declaredNames(layout)
  return names.every((name) => members[name] !== undefined && members[name] !== null)
}

function declaredNames({ iv }: Layout): string[] {
  return ['dek_wrapped', ...(iv === null ? [] : ['dek_iv'])]
}
