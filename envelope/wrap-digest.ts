import { createHash } from 'node:crypto'
import { BSON } from 'mongodb'
import { asDocument, asInteger } from './bson-values.ts'
import { wrapFieldNames } from './envelope.ts'

/**
 * SHA-256 (32 bytes) of exactly these wrap fields as found. Quarantine stores it, so that a repaired or restored envelope
 * counts again. Defined for any value, including malformed envelopes. Give all of
 * `wrapFieldNames` as the record has them (unset members left out): `format` counts as well. It does not matter whether
 * the driver promoted binaries and integers, except for unusual values inside malformed members: read those unpromoted.
 */
export function wrapDigest(value: unknown): Buffer {
  const found = asDocument(value)
  const named = found === null ? { not_a_document: value } : wrapFieldsOf(found)
  return createHash('sha256')
    .update(BSON.serialize(named, { ignoreUndefined: true }))
    .digest()
}

function wrapFieldsOf(found: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    wrapFieldNames.map((name) => [name, asInteger(found[name]) ?? found[name]]),
  )
}
