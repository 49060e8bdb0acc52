import { z } from 'zod'
import type { CollectionConfig, DeclaredLayout } from '../contracts/settings.ts'

/** The path of a field, or of a part that a layout names. */
export const fieldPath = z
  .string('must be the dotted path of a field')
  .refine((path) => !path.split('.').includes(''), 'must not have empty parts')
  .refine((path) => !/[$\0]/.test(path), 'must not contain "$"')
  .refine((path) => path.split('.')[0] !== '_id', 'must not be inside "_id"')

const partNames = ['id', 'field', 'collection', 'install', 'version']
const partsHint = `must be one of ${partNames.join(', ')}, or begin with "text:"`

const recipe = z.strictObject(
  {
    sha256: z
      .array(
        z
          .string(partsHint)
          .refine((part) => partNames.includes(part) || part.startsWith('text:'), partsHint),
        'must be a list of parts',
      )
      .min(1, 'must name at least one part'),
    separator: z.string('must be a text').optional(),
  },
  'must be "keyturn", "none", or a section with sha256',
)

const layout = z.strictObject(
  {
    version: fieldPath,
    wrapped: fieldPath,
    iv: fieldPath,
    encoding: z
      .enum(['binary', 'base64', 'hex'], 'must be "binary", "base64" or "hex"')
      .default('binary'),
    aad: z.union([
      z.enum(['none', 'keyturn'], 'must be "keyturn", "none", or a section with sha256'),
      recipe,
    ]),
  },
  'must be a section with version, wrapped, iv, encoding and aad',
)

/** An entry of `envelopes`: a path, or a name with its layout. */
export const envelopeEntry = z.union([
  fieldPath,
  z.strictObject(
    { field: fieldPath, layout: layout.optional() },
    'must be a section with field and layout',
  ),
])

export type EnvelopeEntry = z.output<typeof envelopeEntry>

export function fieldOf(entry: EnvelopeEntry): string {
  return typeof entry === 'string' ? entry : entry.field
}

/**
 * The paths that a rotation reads or writes for a field. Two fields must not share a path: re-wrapping one would change the
 * version of the other.
 */
export function pathsOf(entry: EnvelopeEntry): string[] {
  if (typeof entry === 'string') return [entry]
  if (entry.layout === undefined) return [entry.field]
  const { version, wrapped, iv } = entry.layout
  return [version, wrapped, ...(iv === 'prefix' ? [] : [iv])]
}

export function collectionConfig(name: string, entries: EnvelopeEntry[]): CollectionConfig {
  const layouts = entries.flatMap((entry) =>
    typeof entry === 'string' || entry.layout === undefined
      ? []
      : [{ field: entry.field, layout: declared(entry.layout) }],
  )
  const envelopes = entries.map(fieldOf)
  return { name, envelopes, ...(layouts.length === 0 ? {} : { layouts }) }
}

function declared({ aad, ...rest }: z.output<typeof layout>): DeclaredLayout {
  if (typeof aad === 'string') return { ...rest, aad }
  const { sha256, separator } = aad
  return { ...rest, aad: { sha256, ...(separator === undefined ? {} : { separator }) } }
}
