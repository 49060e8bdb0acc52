import { BSON } from 'mongodb'

/** An id for JSON output: EJSON relaxed. Sub-documents may be Maps, which keep the order of number-like keys. */
export function ejson(value: unknown): unknown {
  if (value === undefined || value === null) return null
  const { id } = BSON.EJSON.serialize({ id: plain(value) }, { relaxed: true }) as { id: unknown }
  return id
}

function plain(value: unknown): unknown {
  if (value instanceof Map) {
    return Object.fromEntries([...value].map(([key, member]) => [String(key), plain(member)]))
  }
  return Array.isArray(value) ? value.map(plain) : value
}
