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
  return digest(fieldPrefix('keyturn:dek:1', install, collection, field), lp(id), u32be(version))
}

/** Binds the data to its record and field. No version in it: a rotation never touches the data. */
export function dataAad(install: string, collection: string, field: string, id: Buffer): Buffer {
  return digest(fieldPrefix('keyturn:data:1', install, collection, field), lp(id))
}

/** Binds the canary of a version to its install. */
export function canaryAad(install: string, version: number): Buffer {
  return digest(lp('keyturn:canary:1'), lp(install), u32be(version))
}

function digest(...parts: Buffer[]): Buffer {
  return hash('sha256', Buffer.concat(parts), 'buffer')
}

/** The part that all envelopes of a field share, made once: a sweep asks for it with each of a million envelopes. */
const prefixes = new Map<string, Buffer>()

function fieldPrefix(domain: string, ...names: [string, string, string]): Buffer {
  // Lengths in the key, so that no two lists of names share one.
  const key = `${domain} ${names.map((name) => `${name.length}:${name}`).join(' ')}`
  let prefix = prefixes.get(key)
  if (prefix === undefined) {
    prefix = Buffer.concat([lp(domain), ...names.map(lp)])
    prefixes.set(key, prefix)
  }
  return prefix
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
