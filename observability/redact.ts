import type pino from 'pino'

/**
 * Keeps secrets out of the log, should one be passed to it by mistake: values under a secret's name are replaced, bytes are
 * never written, and passwords in addresses are replaced anywhere in a text.
 */

const cut = '[redacted]'
const deepest = 8
/** Compared without case, `_` and `-`: `wrappedDek` is no secret, `dek` is. */
const secretNames = new Set([
  'pin',
  'sopin',
  'userpin',
  'password',
  'passwd',
  'passphrase',
  'secret',
  'token',
  'apikey',
  'dek',
  'deks',
  'plaindek',
  'kek',
  'keks',
  'key',
  'keys',
  'privatekey',
  'keymaterial',
  'material',
  'plaintext',
  'plain',
  'authorization',
])
/** Names whose short texts and numbers are kept (a key's label, a token's label); bytes are still cut. */
const labelNames = new Set(['key', 'keys', 'kek', 'keks', 'token'])

/** Cuts user and password of an address, up to the last `@` before white space or a quote, so a raw `@` in it hides too. */
export function redactUri(uri: string): string {
  return uri.replace(/([a-z][a-z0-9+.-]*:\/\/)[^\s"'<>]*@/gi, `$1${cut}@`)
}

/** A copy of what was logged, made safe: plain JSON values, errors with their causes, `[n bytes]` for binary. */
export function redact(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return redactUri(value)
  if (typeof value === 'bigint') return String(value)
  if (typeof value !== 'object' || value === null) return value
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`
  if (value instanceof ArrayBuffer) return `[${value.byteLength} bytes]`
  if (value instanceof Date) return value
  if (depth >= deepest) return '[too deep]'
  if (value instanceof Error) return redactError(value, depth)
  if (value instanceof Set || Array.isArray(value)) {
    return Array.from(value, (member: unknown) => redact(member, depth + 1))
  }
  if ((value as { _bsontype?: unknown })._bsontype !== undefined) return redactBson(value, depth)
  const entries = value instanceof Map ? [...value] : Object.entries(value)
  return redactEntries(entries as [unknown, unknown][], depth)
}

function redactEntries(entries: Iterable<[unknown, unknown]>, depth: number): object {
  return Object.fromEntries(
    [...entries].map(([name, member]) => [
      String(name),
      isSecret(String(name), member) ? cut : redact(member, depth + 1),
    ]),
  )
}

function isSecret(name: string, value: unknown): boolean {
  const plain = name.toLowerCase().replaceAll(/[_-]/g, '')
  if (!secretNames.has(plain) || value === null || value === undefined) return false
  return labelNames.has(plain) ? !isLabel(value) : true
}

/** Short and no long run of hex or base64: 16 bytes of key material would be 22 such characters. */
function isLabel(value: unknown): boolean {
  if (typeof value === 'number') return true
  if (Array.isArray(value)) return value.every(isLabel)
  if (typeof value === 'object') return !ArrayBuffer.isView(value)
  return typeof value === 'string' && !/[A-Za-z0-9+/=]{22}/.test(value)
}

function redactError(error: Error, depth: number): object {
  const { cause, ...members } = error as Error & Record<string, unknown>
  const { name, message, stack } = error
  return {
    type: name,
    message: redactUri(message),
    ...(stack === undefined ? {} : { stack: redactUri(stack) }),
    ...redactEntries(
      Object.entries(members).filter(([key]) => !['name', 'message', 'stack'].includes(key)),
      depth,
    ),
    ...(cause === undefined ? {} : { cause: redact(cause, depth + 1) }),
  }
}

/** BSON's classes: an ObjectId or number by its own toJSON, a Binary by its length only. */
function redactBson(value: object, depth: number): unknown {
  const binary = value as { _bsontype: string; position?: number }
  if (binary._bsontype === 'Binary') return `[${binary.position ?? 0} bytes]`
  const { toJSON } = value as { toJSON?: () => unknown }
  return toJSON === undefined ? binary._bsontype : redact(toJSON.call(value), depth + 1)
}

/** Redacts members of a line, base, `err` and the finished line. log.ts redacts the bindings of children. */
export const redacting: Pick<pino.LoggerOptions, 'formatters' | 'serializers' | 'hooks'> = {
  formatters: {
    log: (members) => redact(members) as Record<string, unknown>,
    bindings: (members) => redact(members) as pino.Bindings,
  },
  serializers: { err: (error: unknown) => redact(error) },
  hooks: { streamWrite: redactUri },
}
