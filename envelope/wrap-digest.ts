import { createHash } from 'node:crypto'
import { BSON } from 'mongodb'
import { asDocument, asInteger } from './bson-values.ts'
import { wrapFieldNames } from './envelope.ts'

/**
 * SHA-256 (32 bytes) that names exactly these wrap fields, as found: quarantine remembers it, so that an envelope which
 * its owner repaired or restored is seen again. Defined for anything, malformed envelopes too. Give all of
 * `wrapFieldNames` as the record has them (unset members left out): `format` counts as well. It does not matter whether
 * the driver promoted binaries and integers, but for odd values inside of malformed members read unpromoted.
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
