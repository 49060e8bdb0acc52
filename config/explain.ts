import { z } from 'zod'
import { KeyturnError } from '../contracts/errors.ts'
import { hintFor } from './hints.ts'
import type { KeyPath, YamlSource } from './yaml-source.ts'

/** Paths whose values an error never shows: secrets, and sections in whose place a secret may have been written by mistake. */
const secrets = new Set([
  '',
  'mongodb.uri',
  'kek',
  'kek.pkcs11',
  'kek.pkcs11.pin',
  'kek.pkcs11.uri',
])

/** The form of a mistyped key. Other text in the place of a key is not shown, since it may hold a secret. */
const keyLike = /^[\w.-]{1,64}$/

interface Problem {
  readonly path: KeyPath
  readonly unknown: boolean
  readonly message: string
  readonly hint: string
}

/**
 * One error for what zod found: unknown keys first (a misspelt key also makes the right one missing), then by place in
 * the file. The message names file, line and column, the hint what to type.
 */
export function explain(source: YamlSource, schema: z.ZodType, error: z.ZodError): KeyturnError {
  const problems = error.issues.flatMap((issue) => problemsOf(source, schema, issue))
  problems.sort(
    (a, b) =>
      Number(b.unknown) - Number(a.unknown) || source.offsetOf(a.path) - source.offsetOf(b.path),
  )
  const [first] = problems
  if (first === undefined) throw error
  return new KeyturnError(
    first.unknown ? 'config-unknown-key' : 'config-invalid',
    `${source.locate(first.path)}: ${first.message}`,
    { hint: first.hint },
  )
}

function problemsOf(source: YamlSource, schema: z.ZodType, issue: z.core.$ZodIssue): Problem[] {
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(schema, issue.path).join(', ')
    return issue.keys.map((key) => {
      const path = [...issue.path, key]
      const named = keyLike.test(key) ? `unknown key "${nameOf(path)}"` : null
      const message = named ?? `text where a key should be, in ${subject(issue.path)}`
      return { path, unknown: true, message, hint: `allowed keys: ${known}` }
    })
  }
  if (issue.code === 'invalid_union') {
    return meantBranch(source, issue).flatMap((inner) => problemsOf(source, schema, inner))
  }
  const message = `${subject(issue.path)} ${predicate(source, issue)}`
  return [{ path: issue.path, unknown: false, message, hint: hintFor(issue.path) }]
}

/** In our unions words come first and a section last: the issue is reported for the branch that was written. */
function meantBranch(
  source: YamlSource,
  { path, errors }: z.core.$ZodIssueInvalidUnion,
): z.core.$ZodIssue[] {
  const value = valueAt(source.value, path)
  const isSection = typeof value === 'object' && value !== null && !Array.isArray(value)
  const issues = (isSection ? errors.at(-1) : errors[0]) ?? []
  return issues.map((issue) => ({ ...issue, path: [...path, ...issue.path] }))
}

function subject(path: KeyPath): string {
  return path.length === 0 ? 'the file' : `"${nameOf(path)}"`
}

function predicate(source: YamlSource, issue: z.core.$ZodIssue): string {
  const value = valueAt(source.value, issue.path)
  if (value === undefined) return issue.code === 'custom' ? issue.message : 'is missing'
  if (!issue.message.startsWith('must')) return issue.message
  if (secrets.has(nameOf(issue.path))) return issue.message
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') {
    return issue.message
  }
  // Probably an address with a user and a password, even under the wrong key.
  if (String(value).includes('@')) return issue.message
  // A key in PEM, which may be a private one.
  if (String(value).includes('-----BEGIN')) return issue.message
  return `${issue.message}, not "${String(value).slice(0, 80)}"`
}

function nameOf(path: KeyPath): string {
  return path
    .map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step)}`))
    .join('')
    .replace(/^\./, '')
}

function valueAt(value: unknown, path: KeyPath): unknown {
  return path.reduce<unknown>(
    (inner, step) =>
      typeof inner === 'object' && inner !== null
        ? (inner as Record<PropertyKey, unknown>)[step]
        : undefined,
    value,
  )
}

function keysAt(schema: z.ZodType, path: KeyPath): string[] {
  let inner = unwrapped(schema)
  for (const step of path) {
    if (inner instanceof z.ZodArray) inner = unwrapped(inner.element as z.ZodType)
    else if (inner instanceof z.ZodObject) {
      inner = unwrapped((inner.shape as Record<PropertyKey, z.ZodType>)[step] ?? z.never())
    }
  }
  return inner instanceof z.ZodObject ? Object.keys(inner.shape) : []
}

function unwrapped(schema: z.ZodType): z.ZodType {
  const wrapped =
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault
  if (wrapped) return unwrapped(schema.unwrap() as z.ZodType)
  if (schema instanceof z.ZodPipe) return unwrapped(schema.in as z.ZodType)
  if (schema instanceof z.ZodUnion) return unwrapped(schema.options.at(-1) as z.ZodType)
  return schema
}
