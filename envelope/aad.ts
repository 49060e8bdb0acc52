import { hash } from 'node:crypto'

/**
 * AAD is always 32 bytes: SHA-256 over length-prefixed parts (`lp`: four bytes big-endian, then the bytes; strings as
 * UTF-8), so no two lists of parts give the same bytes. `id` is what `idBytes` made, never a bare value.
 */

/** Binds a wrapped DEK to its record, field and KEK version. */
export function dekAad(
  install: string,
  collection: string,
  field: string,
  id: Buffer,
  version: number,
): Buffer {
  return digest(fieldPrefix(dekDomain, install, collection, field), id, version)
}

/** Binds the data to its record and field. Without a version: a rotation never changes the data. */
export function dataAad(install: string, collection: string, field: string, id: Buffer): Buffer {
  return digest(fieldPrefix(dataDomain, install, collection, field), id, null)
}

/** Binds the canary of a version to its install. */
export function canaryAad(install: string, version: number): Buffer {
  return sha256(Buffer.concat([lp('keyturn:canary:1'), lp(install), u32be(version)]))
}

const dekDomain = 'keyturn:dek:1'
const dataDomain = 'keyturn:data:1'

/** Built in one buffer, because a sweep needs it twice for each envelope. */
function digest(prefix: Buffer, id: Buffer, version: number | null): Buffer {
  const end = prefix.length + 4 + id.length
  const bytes = Buffer.allocUnsafe(end + (version === null ? 0 : 4))
  prefix.copy(bytes)
  bytes.writeUInt32BE(id.length, prefix.length)
  id.copy(bytes, prefix.length + 4)
  if (version !== null) bytes.writeUInt32BE(version, end)
  return sha256(bytes)
}

function sha256(bytes: Buffer): Buffer {
  return hash('sha256', bytes, 'buffer')
}

interface Prefix {
  domain: string
  install: string
  collection: string
  field: string
  bytes: Buffer
}

/** The part that all envelopes of a field share, cached for the latest fields: a process uses few at a time. */
const prefixes: Prefix[] = []
const mostPrefixes = 64

function fieldPrefix(domain: string, install: string, collection: string, field: string): Buffer {
  for (const known of prefixes) {
    const isSame =
      known.field === field &&
      known.collection === collection &&
      known.domain === domain &&
      known.install === install
    if (isSame) return known.bytes
  }
  const bytes = Buffer.concat([domain, install, collection, field].map(lp))
  if (prefixes.length === mostPrefixes) prefixes.pop()
  prefixes.unshift({ domain, install, collection, field, bytes })
  return bytes
}

function lp(part: string | Buffer): Buffer {
  const bytes = typeof part === 'string' ? Buffer.from(part, 'utf8') : part
  return Buffer.concat([u32be(bytes.length), bytes])
}

/** Throws a RangeError for anything but an unsigned 32-bit integer; callers pass checked versions. */
function u32be(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
