import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml'
import type { Document } from 'yaml'
import { KeyturnError } from '../contracts/errors.ts'

export type KeyPath = readonly PropertyKey[]

/** A parsed YAML file with the position of each value. */
export interface YamlSource {
  readonly file: string
  /** Plain values; a key without a value is undefined, as if it were absent. */
  readonly value: unknown
  /** `file:line:column` of the node at the path or, when there is none, of its nearest parent. */
  locate(path: KeyPath): string
  /** The same position as an offset in characters from the beginning of the file. */
  offsetOf(path: KeyPath): number
}

/**
 * Throws `config-invalid` with line and column when the text is not YAML; the text is never shown, since it may hold a PIN.
 */
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
    const named = key === undefined ? 'a key' : `the key "${key}"`
    throw new KeyturnError('config-invalid', `${at(error.pos[0])}: ${named} appears twice`, {
      hint: 'keep one of the two: a section cannot be split',
    })
  }
  if (error !== undefined) {
    throw new KeyturnError(
      'config-invalid',
      `${at(error.pos[0])}: not valid yaml (${error.code.toLowerCase().replaceAll('_', ' ')})`,
      { hint: 'look at the indentation and the quotes around it' },
    )
  }
  const [tag] = document.warnings
  if (tag !== undefined) {
    // Do not show the tag: an unquoted PIN may begin with `!`.
    const key = /([\w.-]{1,64})["']?\s*:[^\S\n]*$/.exec(text.slice(0, tag.pos[0]))?.[1]
    const where = key === undefined ? 'a value' : `the value of "${key}"`
    throw new KeyturnError('config-invalid', `${at(tag.pos[0])}: ${where} has a tag ("!")`, {
      hint: 'tags are not supported: put a text that begins with "!" into quotes',
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
 * The library throws plain errors for unknown aliases and for aliases that expand without end. An alias inside itself, or
 * very deep nesting, overflows the stack. Neither error has a position.
 */
function reading<T>(file: string, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    const reason = cause instanceof RangeError ? 'it is nested too deeply' : aliasReason(cause)
    throw new KeyturnError('config-invalid', `${file}: not valid yaml (${reason})`, {
      hint: 'write the values out instead of anchors (&) and aliases (*)',
      cause,
    })
  }
}

function aliasReason(cause: unknown): string {
  return /excessive alias/i.test(String(cause))
    ? 'its aliases expand without limit'
    : 'an alias has no anchor'
}

/** The offset of the key rather than of its value, since a reader looks for the key. */
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

/** Null becomes undefined; the key is kept, so that an unknown key is reported. */
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
