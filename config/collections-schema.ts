import { z } from 'zod'
import { collections as keystore } from '../contracts/names.ts'
import {
  collectionConfig,
  envelopeEntry,
  fieldOf,
  pathsOf,
  type EnvelopeEntry,
} from './layout-schema.ts'

const own: readonly string[] = Object.values(keystore)

const collectionName = z
  .string('must be the name of a collection')
  .min(1, 'must not be empty')
  .refine((name) => !/[$\0]/.test(name), 'must not contain "$"')
  .refine(
    (name) => !/^\.|\.$|\.\./.test(name),
    'must not begin or end with a dot, nor have two in a row',
  )
  .refine((name) => !name.startsWith('system.'), "must not be one of MongoDB's own")
  .refine((name) => !own.includes(name), "must not be one of keyturn's own collections")

const collection = z
  .strictObject(
    {
      name: collectionName,
      envelopes: z
        .array(envelopeEntry, 'must be a list of field paths')
        .min(1, 'must name at least one field'),
    },
    'must be a section with name and envelopes',
  )
  .superRefine(({ envelopes }, context) => {
    envelopes.forEach((entry, at) => {
      const message = refusal(entry, envelopes.slice(0, at))
      if (message !== null) context.addIssue({ code: 'custom', path: ['envelopes', at], message })
    })
  })
  .transform(({ name, envelopes }) => collectionConfig(name, envelopes))

export const collectionList = z
  .array(collection, 'must be a list of collections')
  .min(1, 'must name at least one collection')
  .superRefine((list, context) => {
    list.forEach(({ name }, at) => {
      if (list.findIndex((other) => other.name === name) === at) return
      const message = `names the collection "${name}" a second time`
      context.addIssue({ code: 'custom', path: [at, 'name'], message })
    })
  })

function refusal(entry: EnvelopeEntry, earlier: readonly EnvelopeEntry[]): string | null {
  const field = fieldOf(entry)
  if (earlier.some((other) => fieldOf(other) === field)) {
    return `names the field "${field}" a second time`
  }
  const taken = earlier.flatMap(pathsOf)
  for (const path of pathsOf(entry)) {
    const message = clash(path, taken)
    if (message !== null) return message
    taken.push(path)
  }
  return null
}

/**
 * A field that is listed twice or lies inside another: a rotation would read an envelope twice, or overwrite another one.
 */
function clash(path: string, earlier: readonly string[]): string | null {
  if (earlier.includes(path)) return `names the field "${path}" a second time`
  const outer = earlier.find((other) => path.startsWith(`${other}.`))
  if (outer !== undefined) return `is inside the field "${outer}": "${path}"`
  const inner = earlier.find((other) => other.startsWith(`${path}.`))
  if (inner !== undefined) return `contains another field, "${inner}": "${path}"`
  return null
}
