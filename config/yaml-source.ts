import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml'
import type { Document } from 'yaml'
import { KeyturnError } from '../contracts/errors.ts'

export type KeyPath = readonly PropertyKey[]

/** A parsed YAML file that still knows where everything stands. */
export interface YamlSource {
  readonly file: string
  /** Plain values; a key without a value is undefined, as if it were absent. */
  readonly value: unknown
  /** `file:line:column` of what stands at the path, or, when nothing does, of the nearest thing around it. */
  locate(path: KeyPath): string
  /** Characters from the beginning of the file to the same place. */
  offsetOf(path: KeyPath): number
}

/** Throws `config-invalid` with line and column for what is no YAML; the text itself is never shown (it may hold a PIN). */
export function parseYaml(file: string, text: string): YamlSource {
  const lines = new LineCounter()
  const document = reading(file, () =>
    parseDocument(text, { lineCounter: lines, prettyErrors: false }),
  )
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset)
    return `${file}:${Math.max(line, 1)}:${Math.max(col, 1)}`
  }
  const [error] = document.errors
  if (error?.code === 'DUPLICATE_KEY') {
    const key = /^["']?([\w.-]{1,64})/.exec(text.slice(error.pos[0]))?.[1]
    const named = key === undefined ? 'a key' : `the key '${key}'`
    throw new KeyturnError('config-invalid', `${at(error.pos[0])}: ${named} is there twice`, {
      hint: 'keep one of the two: a section that is continued stands in one piece',
    })
  }
  if (error !== undefined) {
    throw new KeyturnError(
      'config-invalid',
      `${at(error.pos[0])}: not valid yaml (${error.code.toLowerCase().replaceAll('_', ' ')})`,
      { hint: 'look at indentation and quotes around that place' },
    )
  }
  const [tag] = document.warnings
  if (tag !== undefined) {
    // Not the tag itself: an unquoted PIN may begin with the sign of one.
    const key = /([\w.-]{1,64})["']?\s*:[^\S\n]*$/.exec(text.slice(0, tag.pos[0]))?.[1]
    const where = key === undefined ? 'a value' : `the value of '${key}'`
    throw new KeyturnError('config-invalid', `${at(tag.pos[0])}: ${where} has a tag ('!')`, {
      hint: "tags are not supported; a text that begins with '!' stands in quotes",
    })
  }
  const offsetOf = (path: KeyPath): number => offsetIn(document, path)
  return {
    file,
    value: reading(file, () => nullsAsAbsent(document.toJS())),
    offsetOf,
    locate: (path) => at(offsetOf(path)),
  }
}

/**
 * The library refuses aliases that are unknown or multiply without end by plain errors; one inside of itself, or nesting
 * without end, overflows the stack. Neither says where.
 */
function reading<T>(file: string, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    const reason = cause instanceof RangeError ? 'it is nested without end' : aliasReason(cause)
    throw new KeyturnError('config-invalid', `${file}: not valid yaml (${reason})`, {
      hint: 'write the values out instead of anchors (&) and aliases (*)',
      cause,
    })
  }
}

function aliasReason(cause: unknown): string {
  return /excessive alias/i.test(String(cause)) ? 'its aliases multiply' : 'an alias has no anchor'
}

/** Keys stand for their values: a reader looks for the key. */
function offsetIn(document: Document, path: KeyPath): number {
  let node: unknown = document.contents
  let offset = isMap(node) || isSeq(node) ? (node.range?.[0] ?? 0) : 0
  for (const step of path) {
    if (isAlias(node)) node = node.resolve(document)
    let next: unknown
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && key.value === step)
      if (!isScalar(pair?.key)) break
      offset = pair.key.range?.[0] ?? offset
      next = pair.value
    } else if (isSeq(node)) {
      next = node.items[Number(step)]
      const range = (next as { range?: readonly number[] } | undefined)?.range
      if (range === undefined) break
      offset = range[0] ?? offset
    } else {
      break
    }
    node = next
  }
  return offset
}

/** The key stays, so that an unknown one is seen. */
function nullsAsAbsent(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(nullsAsAbsent)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [
      key,
      member === null ? undefined : nullsAsAbsent(member),
    ]),
  )
}
