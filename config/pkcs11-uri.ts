import type { TokenWanted } from '../contracts/settings.ts'

/** The parts of a PKCS#11 URI (RFC 7512) that locate a KEK; parts that are not in the URI are absent. */
export interface Pkcs11Uri {
  token: TokenWanted
  /** A key's label without the version at its end. */
  keyLabelPrefix?: string
  modulePath?: string
  pinFile?: string
  pin?: string
}

const pathAttributes = ['token', 'serial', 'slot-id', 'manufacturer', 'model', 'object', 'type']
const queryAttributes = ['module-path', 'pin-source', 'pin-value']

/** Parses a URI, or returns as a predicate why it cannot be used; the reason never contains a PIN. */
export function parsePkcs11Uri(text: string): Pkcs11Uri | { refusal: string } {
  try {
    return parse(text)
  } catch (error) {
    if (error instanceof Refusal) return { refusal: error.message }
    throw error
  }
}

class Refusal extends Error {}

function parse(text: string): Pkcs11Uri {
  const [, path, query = ''] = /^pkcs11:([^?#]*)(?:\?([^#]*))?$/s.exec(text) ?? []
  if (path === undefined) throw new Refusal('must be a PKCS#11 URI that begins with "pkcs11:"')
  const parts = new Map([
    ...attributes(path, ';', pathAttributes),
    ...attributes(query, '&', queryAttributes),
  ])
  const type = parts.get('type')
  if (type !== undefined && type !== 'secret-key') {
    throw new Refusal(`names a key of type "${type}", not "secret-key"`)
  }
  if (parts.has('pin-source') && parts.has('pin-value')) {
    throw new Refusal('has both "pin-source" and "pin-value"')
  }
  return definedOnly({
    token: tokenOf(parts),
    keyLabelPrefix: parts.get('object')?.replace(/-v\d+$/, ''),
    modulePath: parts.get('module-path'),
    pinFile: pinFileOf(parts.get('pin-source')),
    pin: parts.get('pin-value'),
  })
}

function attributes(list: string, separator: string, known: readonly string[]): [string, string][] {
  const seen = new Set<string>()
  return list
    .split(separator)
    .filter((part) => part !== '')
    .map((part) => {
      const at = part.indexOf('=')
      const name = at < 0 ? part : part.slice(0, at)
      if (at < 0 || !/^[a-z-]+$/.test(name)) throw new Refusal('has a part that is not name=value')
      if (!known.includes(name)) {
        throw new Refusal(`has an attribute that is not used here: "${name}" (${known.join(', ')})`)
      }
      if (seen.has(name)) throw new Refusal(`has "${name}" a second time`)
      seen.add(name)
      return [name, decoded(name, part.slice(at + 1))]
    })
}

/** Decodes percent-encoded UTF-8; a `+` stays a plus. */
function decoded(name: string, value: string): string {
  let text: string
  try {
    text = decodeURIComponent(value)
  } catch {
    throw new Refusal(`has "${name}" with a percent-encoding that is not UTF-8`)
  }
  if (text === '' || text.includes('\0')) throw new Refusal(`has "${name}" without a value`)
  return text
}

function tokenOf(parts: ReadonlyMap<string, string>): TokenWanted {
  const slot = parts.get('slot-id')
  if (slot !== undefined && !/^\d{1,15}$/.test(slot)) {
    throw new Refusal('has a "slot-id" that is not a number')
  }
  const token = definedOnly({
    label: parts.get('token'),
    serial: parts.get('serial'),
    slot: slot === undefined ? undefined : Number(slot),
    manufacturer: parts.get('manufacturer'),
    model: parts.get('model'),
  })
  if (Object.keys(token).length > 0) return token
  throw new Refusal('names no token: one of token, serial, slot-id, manufacturer, model is needed')
}

/** `file:` with a path, relative or absolute, or a bare path; a command (`|…`) is never run. */
function pinFileOf(source: string | undefined): string | undefined {
  if (source === undefined) return undefined
  const file = /^file:(?:\/\/(?:localhost)?(?=\/))?(.+)$/s.exec(source)?.[1]
  const isBare = !/^([a-z][a-z0-9+.-]*:|\||\/\/)/i.test(source)
  if (file !== undefined && !file.startsWith('//')) return file
  if (isBare) return source
  throw new Refusal('has a "pin-source" that is not a file: write pin-source=file:/path')
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> }

function definedOnly<T extends object>(value: T): Defined<T> {
  const entries = Object.entries(value).filter(([, member]) => member !== undefined)
  return Object.fromEntries(entries) as Defined<T>
}
