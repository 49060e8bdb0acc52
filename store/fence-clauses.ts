import type { Document } from 'mongodb'

/**
 * The clauses that make a validator refuse a version: `{<path>: {$ne: N}}`, joined by `$and` to the existing validator. They
 * are found at the top and in every nested `$and`, because an administrator who changes the validator may flatten it, add
 * members beside it, or write the same with `$nin`, `$not` or `$nor`.
 */

/** Records that the old validator had no level, so that the level is unset again later. */
const levelNote = 'keyturn: validation level was not set'

export interface Clauses {
  paths: readonly string[]
  version: number
}

/** Whether a validator refuses the version on each of these paths. */
export function holdsClauses(validator: Document, { paths, version }: Clauses): boolean {
  return paths.every((path) => strip(validator, isAt(path, version)).stripped > 0)
}

/** Whether a validator refuses the version on any of these paths. */
export function holdsAny(validator: Document, { paths, version }: Clauses): boolean {
  return paths.some((path) => strip(validator, isAt(path, version)).stripped > 0)
}

/** The validator with its missing clauses added; `noted`: it had no level before. */
export function withClauses(
  validator: Document,
  clauses: Clauses,
  noted: boolean,
): { validator: Document } {
  const wanted = clauses.paths
    .filter((path) => !holdsClauses(validator, { ...clauses, paths: [path] }))
    .map((path) => ({ [path]: { $ne: clauses.version } }))
  const note = noted && !isNoted(validator) ? [{ $comment: levelNote }] : []
  const isOurs = Object.keys(validator).length === 1 && isFenced(validator['$and'])
  const there = isOurs
    ? (validator['$and'] as Document[])
    : Object.keys(validator).length === 0
      ? []
      : [validator]
  const noteLast = there.filter((clause) => !isNote(clause))
  const oldNote = there.filter(isNote)
  return { validator: { $and: [...noteLast, ...wanted, ...oldNote, ...note] } }
}

/**
 * The validator without exactly these clauses; null when it has none of them. `noted`: no fence of any version is left, and
 * the note that the old validator had no level was removed with the last one.
 */
export function withoutClauses(
  validator: Document,
  { paths, version }: Clauses,
): { validator: Document; noted: boolean } | null {
  let left = validator
  let stripped = 0
  for (const path of paths) {
    const next = strip(left, isAt(path, version))
    left = next.left
    stripped += next.stripped
  }
  if (stripped === 0) return null
  if (!isNoted(left) || hasFences(left)) return { validator: left, noted: false }
  return { validator: strip(left, isNoteEntry).left, noted: true }
}

type IsClause = (key: string, condition: unknown) => unknown

/** The condition without the clause: `undefined` when nothing is left, unchanged when it does not hold the clause. */
function isAt(path: string, version: number): IsClause {
  return (key, condition) => {
    if (key === '$nor' && Array.isArray(condition)) {
      const rest = condition.filter((each) => !isEqual(each as Document, path, version))
      return rest.length === condition.length ? condition : rest.length === 0 ? undefined : rest
    }
    return key === path ? conditionWithout(condition, version) : condition
  }
}

const isNoteEntry: IsClause = (key, condition) =>
  key === '$comment' && condition === levelNote ? undefined : condition

/** `{$ne: N}`, `{$not: {$eq: N}}` and N among `$nin`, alone or beside others. */
function conditionWithout(condition: unknown, version: number): unknown {
  if (!isObject(condition)) return condition
  const rest: Document = {}
  for (const [operator, operand] of Object.entries(condition) as [string, unknown][]) {
    if (operator === '$ne' && isVersion(operand, version)) continue
    if (operator === '$not' && isObject(operand) && isOnlyEq(operand, version)) continue
    if (operator === '$nin' && Array.isArray(operand)) {
      const others = (operand as unknown[]).filter((each) => !isVersion(each, version))
      if (others.length > 0) rest[operator] = others
      continue
    }
    rest[operator] = operand
  }
  const isSame = JSON.stringify(rest) === JSON.stringify(condition)
  return isSame ? condition : Object.keys(rest).length === 0 ? undefined : rest
}

/** Removes the clause from the validator's top level and its nested `$and`s; `stripped` counts the places that changed. */
function strip(validator: Document, clause: IsClause): { left: Document; stripped: number } {
  const left: Document = {}
  let stripped = 0
  for (const [key, condition] of Object.entries(validator)) {
    if (key === '$and' && Array.isArray(condition)) {
      const members = (condition as Document[]).map((each) => strip(each, clause))
      const here = members.reduce((sum, each) => sum + each.stripped, 0)
      stripped += here
      const rest = members.map((each) => each.left).filter((each) => Object.keys(each).length > 0)
      if (here === 0) left[key] = condition
      else if (rest.length === 1 && Object.keys(validator).length === 1)
        return { left: rest[0] ?? {}, stripped }
      else if (rest.length > 0) left[key] = rest
      continue
    }
    const now = clause(key, condition)
    if (now !== condition) stripped += 1
    if (now !== undefined) left[key] = now
  }
  return { left, stripped }
}

/** Whether a member of an `$and` is a Keyturn fence of any version; Keyturn then also made the `$and`. */
function isFenced(members: unknown): boolean {
  return Array.isArray(members) && (members as Document[]).some((each) => isFence(each))
}

function hasFences(validator: Document): boolean {
  return isFence(validator) || isFenced(validator['$and'])
}

function isFence(clause: Document): boolean {
  const entries = Object.entries(clause) as [string, unknown][]
  const [path, condition] = entries[0] ?? ['', null]
  if (entries.length !== 1 || path.startsWith('$') || !isObject(condition)) return false
  return /^\{"\$ne":\d+\}$/.test(JSON.stringify(condition))
}

function isNoted(validator: Document): boolean {
  return strip(validator, isNoteEntry).stripped > 0
}

function isNote(clause: Document): boolean {
  return Object.keys(clause).length === 1 && clause['$comment'] === levelNote
}

function isEqual(clause: Document, path: string, version: number): boolean {
  if (Object.keys(clause).length !== 1) return false
  const condition: unknown = clause[path]
  return isVersion(condition, version) || (isObject(condition) && isOnlyEq(condition, version))
}

function isOnlyEq(condition: Document, version: number): boolean {
  return Object.keys(condition).length === 1 && isVersion(condition['$eq'], version)
}

/** An unpromoted number is a driver object (`Int32`, `Long`, `Double`). */
function isVersion(value: unknown, version: number): boolean {
  return value !== null && ['number', 'object'].includes(typeof value) && Number(value) === version
}

function isObject(value: unknown): value is Document {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
