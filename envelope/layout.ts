import { hash } from 'node:crypto'
import { Binary, type Document } from 'mongodb'
import type { ProviderName } from '../contracts/kek.ts'
import type { CollectionConfig, DeclaredLayout } from '../contracts/settings.ts'
import { dekAad } from './aad.ts'
import { asBinary, asInteger } from './bson-values.ts'
import {
  dekIvLengths,
  malformed,
  maxKekVersion,
  parseWrapFields,
  wrapFieldNames,
  wrappedLength,
  type WrapFields,
} from './envelope.ts'
import { idText } from './id-text.ts'

/**
 * Where and how a record stores a field's wraps. Data from before Keyturn keeps its shape: a collection may declare a layout
 * for a field, and a rotation then changes only what the layout names (docs/layouts.md). Ranges, quarantine and AAD use the
 * field's name, even if nothing exists at that path.
 */
export interface Layout {
  readonly field: string
  /** Null for `keyturn-1`: a sub-document at the field's path. */
  readonly declared: DeclaredLayout | null
  /** Dotted paths from the record's root. */
  readonly version: string
  readonly wrapped: string
  /** Null: before the wrapped DEK, in the same value. */
  readonly iv: string | null
  /** Null if none is stored. */
  readonly provider: string | null
  /** Everything that a sweep reads of a record besides `_id`. */
  readonly paths: readonly string[]
}

export function keyturnLayout(field: string): Layout {
  return {
    field,
    declared: null,
    version: `${field}.kek_version`,
    wrapped: `${field}.dek_wrapped`,
    iv: `${field}.dek_iv`,
    provider: `${field}.provider`,
    paths: wrapFieldNames.map((name) => `${field}.${name}`),
  }
}

export function declaredLayout(field: string, declared: DeclaredLayout): Layout {
  const { version, wrapped } = declared
  const iv = declared.iv === 'prefix' ? null : declared.iv
  const paths = [version, wrapped, ...(iv === null ? [] : [iv])]
  return { field, declared, version, wrapped, iv, provider: null, paths }
}

/** The layout of one field of a collection; `keyturn-1` if none is declared. */
export function layoutIn(
  collections: readonly CollectionConfig[],
  collection: string,
  field: string,
): Layout {
  const config = collections.find(({ name }) => name === collection)
  const declared = config?.layouts?.find((each) => each.field === field)?.layout
  return declared === undefined ? keyturnLayout(field) : declaredLayout(field, declared)
}

/**
 * Reads a wrap as it was found: `{kek_version, dek_iv, dek_wrapped}` with the stored values of a declared layout, the
 * envelope itself otherwise. A declared layout has no provider of its own: it is the install's. Throws `malformed` and
 * what `parseWrapFields` throws.
 */
export function readWrap({ declared }: Layout, found: unknown, provider: ProviderName): WrapFields {
  if (declared === null) return parseWrapFields(found)
  const members = (found ?? {}) as Record<string, unknown>
  const kekVersion = asInteger(members['kek_version'])
  if (kekVersion === null || kekVersion < 1 || kekVersion > maxKekVersion) {
    throw malformed(`"${declared.version}" is not an integer from 1 to ${maxKekVersion}`)
  }
  const whole = bytesOf(declared, declared.wrapped, members['dek_wrapped'])
  const dekIv =
    declared.iv === 'prefix'
      ? whole.subarray(0, Math.max(0, whole.length - wrappedLength))
      : bytesOf(declared, declared.iv, members['dek_iv'])
  const dekWrapped = declared.iv === 'prefix' ? whole.subarray(dekIv.length) : whole
  if (dekWrapped.length !== wrappedLength) {
    throw malformed(
      `"${declared.wrapped}" has ${whole.length} bytes, not the ${wrappedLength} of a wrapped DEK`,
    )
  }
  if (dekIv.length < dekIvLengths.least || dekIv.length > dekIvLengths.most) {
    throw malformed(`the iv in "${declared.wrapped}" has ${dekIv.length} bytes`)
  }
  return { kekVersion, provider, dekIv, dekWrapped }
}

/** What a rotation sets in a record, by path. */
export function wrapMembers(
  layout: Layout,
  to: number,
  provider: ProviderName,
  wrap: { dekIv: Uint8Array; dekWrapped: Uint8Array },
): Document {
  const { version, wrapped, iv } = layout
  const encoding = layout.declared?.encoding ?? 'binary'
  if (iv === null) {
    const whole = Buffer.concat([wrap.dekIv, wrap.dekWrapped])
    return { [version]: to, [wrapped]: encoded(encoding, whole) }
  }
  return {
    [version]: to,
    ...(layout.provider === null ? {} : { [layout.provider]: provider }),
    [iv]: encoded(encoding, wrap.dekIv),
    [wrapped]: encoded(encoding, wrap.dekWrapped),
  }
}

/** The stored value with the wrapped DEK, for a filter that matches exactly it. Only for wraps that `readWrap` has read. */
export function storedWrapped(found: unknown): Buffer | string {
  const value = (found as { dek_wrapped: unknown }).dek_wrapped
  return typeof value === 'string' ? value : (asBinary(value) ?? Buffer.alloc(0))
}

/** The AAD of a wrap. Throws `id-unsupported` if the recipe needs the text of an id that has none. */
export function wrapAad(
  { declared, field }: Layout,
  place: { install: string; collection: string; id: Buffer },
  version: number,
): Buffer {
  const { install, collection, id } = place
  const recipe = declared?.aad ?? 'keyturn'
  if (recipe === 'keyturn') return dekAad(install, collection, field, id, version)
  if (recipe === 'none') return Buffer.alloc(0)
  const parts = recipe.sha256.map((part) => {
    if (part === 'id') return idText(id)
    if (part === 'version') return version.toString()
    if (part === 'field') return field
    if (part === 'collection') return collection
    return part === 'install' ? install : part.slice(literalPrefix.length)
  })
  return hash('sha256', Buffer.from(parts.join(recipe.separator ?? ''), 'utf8'), 'buffer')
}

/** A literal part of an AAD recipe. */
export const literalPrefix = 'text:'

/** Strict, so that the value written back has the same encoding. */
function bytesOf({ encoding }: DeclaredLayout, path: string, value: unknown): Buffer {
  if (value === undefined) throw malformed(`there is no "${path}"`)
  if (encoding === 'binary') {
    const bytes = asBinary(value)
    if (bytes === null) throw malformed(`"${path}" is not a binary of subtype 0`)
    return bytes
  }
  if (typeof value !== 'string') throw malformed(`"${path}" is not a string`)
  const bytes = Buffer.from(value, encoding)
  const written = bytes.toString(encoding)
  if (written !== (encoding === 'hex' ? value.toLowerCase() : value)) {
    throw malformed(`"${path}" is not ${encoding}`)
  }
  return bytes
}

function encoded(encoding: DeclaredLayout['encoding'], bytes: Uint8Array): Binary | string {
  return encoding === 'binary' ? new Binary(bytes) : Buffer.from(bytes).toString(encoding)
}
