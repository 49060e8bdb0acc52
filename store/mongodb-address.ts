import { createRequire } from 'node:module'
import { addressOptions, sameAsOurs } from '../contracts/address-options.ts'
import { KeyturnError } from '../contracts/errors.ts'

/** An address for the driver, without the options that Keyturn sets itself. */
export interface MongoAddress {
  readonly uri: string
  /** Options that are not used as written, one sentence each. */
  readonly notes: readonly string[]
}

interface Option {
  /** As the table spells it. */
  readonly name: string
  readonly value: string
}

const byLowerCase = new Map(Object.keys(addressOptions).map((name) => [name.toLowerCase(), name]))

/** Packages that a compressor needs; zlib is part of Node.js. */
const compressorPackages: Readonly<Record<string, string>> = {
  snappy: 'snappy',
  zstd: '@mongodb-js/zstd',
}

/**
 * Checks the options of an address by the table of contracts/address-options.ts. Throws `config-invalid` for refused ones.
 * No message quotes a part that could be from a password: with an `@` that is not percent-encoded the driver would take the
 * rest of a password for a host, so such an address is refused first.
 */
export function readAddress(uri: string): MongoAddress {
  const [, scheme = '', rest = ''] = /^([a-z+]+:\/\/)(.*)$/is.exec(uri) ?? []
  if (rest === '') throw refusedAddress('it must begin with mongodb:// or mongodb+srv://', example)
  if (rest.indexOf('@') !== rest.lastIndexOf('@')) {
    throw refusedAddress(
      'it has more than one "@"',
      'write "@" in the user name, in the password and in options as %40, ":" as %3A, "/" as %2F',
    )
  }
  const at = rest.indexOf('@')
  requireEscaped(rest.slice(0, Math.max(at, 0)))
  requirePorts(rest.slice(at + 1).split(/[/?]/, 1)[0] ?? '')
  const mark = rest.indexOf('?', at + 1)
  if (mark === -1) return { uri, notes: [] }
  const kept: string[] = []
  const notes: string[] = []
  for (const pair of rest.slice(mark + 1).split('&')) {
    if (pair === '') continue
    const { text, note } = treat(pair)
    if (text !== null) kept.push(text)
    if (note !== null) notes.push(note)
  }
  const base = rest.slice(0, mark)
  const query = kept.length === 0 ? '' : `?${kept.join('&')}`
  return { uri: `${scheme}${base.includes('/') ? base : `${base}/`}${query}`, notes }
}

/** Options that are not used as written, one sentence each; empty for an unusable address. */
export function addressNotes(uri: string): readonly string[] {
  try {
    return readAddress(uri).notes
  } catch (error) {
    if (error instanceof KeyturnError) return []
    throw error
  }
}

/** Checks user and password. The driver's own messages would quote what it takes for the user's name. */
function requireEscaped(login: string): void {
  const [user = '', ...password] = login.split(':')
  const parts = { 'user name': user, password: password.join(':') }
  for (const [what, text] of Object.entries(parts)) {
    if (!/[:/?#[\]]/.test(text) && isDecodable(text)) continue
    throw refusedAddress(
      `its ${what} has a character that is not percent-encoded`,
      'write ":" as %3A, "/" as %2F, "?" as %3F, "#" as %23, "[" as %5B, "]" as %5D, "%" as %25',
    )
  }
}

/** If the '@' is missing, a password may stand where a port is expected, so no port is ever quoted. */
function requirePorts(hosts: string): void {
  if (hosts === '') throw refusedAddress('it names no host', example)
  for (const host of hosts.split(',')) {
    requireBrackets(host)
    const port = host.replace(/^(\[[^\]]*\]|[^:]*)/, '')
    if (port === '') continue
    const isPort = /^:\d{1,5}$/.test(port) && +port.slice(1) >= 1 && +port.slice(1) <= 65_535
    if (!isPort) throw refusedAddress('the port of a host is not a number from 1 to 65535', example)
  }
}

/** Brackets enclose an IPv6 address, and nothing else. */
function requireBrackets(host: string): void {
  const isPlain = !/[[\]]/.test(host)
  if (isPlain ? host.split(':').length <= 2 : /^\[[^[\]]+\][^[\]]*$/.test(host)) return
  throw refusedAddress(
    isPlain ? 'a host has more than one ":"' : 'the brackets of a host do not fit',
    'write an IPv6 address in brackets: mongodb://[::1]:27017/',
  )
}

/** The option as passed to the driver, if any, and its warning. */
function treat(pair: string): { text: string | null; note: string | null } {
  const option = optionOf(pair)
  const rule = addressOptions[option.name]
  if (rule === undefined) {
    // Anything but `name=value` may be part of a password.
    const named = /^[a-z0-9]+=/i.test(pair) ? `its option "${option.name}"` : 'one of its options'
    throw refusedAddress(`${named} is not known`, listed)
  }
  switch (rule.treatment) {
    case 'honoured':
      if (option.name === 'compressors') requireCompressors(option.value)
      if (option.name === 'zlibCompressionLevel') requireLevel(option.value)
      return { text: pair, note: honouredNote(option) }
    case 'refused':
      if (option.value === rule.unless) return { text: null, note: null }
      throw refusedAddress(
        `"${option.name}=${option.value}" is not supported: ${rule.why}`,
        `take ${option.name} out of the address`,
      )
    case 'overridden': {
      const isSame = sameAsOurs[option.name]?.includes(option.value) ?? false
      const note = `"${option.name}=${option.value}" of the MongoDB address does not count: ${rule.by} does, since ${rule.why}`
      return { text: null, note: isSame ? null : note }
    }
    case 'limited':
      return limited(pair, option, rule)
  }
}

function limited(
  pair: string,
  { name, value }: Option,
  { least, most, why }: { least: number; most: number; why: string },
): { text: string; note: string | null } {
  const written = Number(value)
  // The driver refuses what is not a number; 0 means no limit for limits.
  const isFree = written === 0 && (name === 'maxPoolSize' || name === 'maxIdleTimeMS')
  if (!/^\d+$/.test(value) || isFree) return { text: pair, note: null }
  const counts = Math.min(Math.max(written, least), most)
  if (counts === written) return { text: pair, note: null }
  const note = `"${name}=${value}" of the MongoDB address does not count: ${counts} does, since ${why}`
  return { text: `${name}=${counts}`, note }
}

function honouredNote({ name, value }: Option): string | null {
  if (name !== 'directConnection' || value !== 'true') return null
  return '"directConnection=true" of the MongoDB address: no other member is looked for when the primary moves'
}

function requireCompressors(list: string): void {
  for (const name of list.split(',')) {
    const needed = compressorPackages[name.trim()]
    if (needed === undefined || isInstalled(needed)) continue
    throw refusedAddress(
      `"compressors=${list}" needs the package "${needed}", which is not installed`,
      `take ${name.trim()} out of compressors, use compressors=zlib, or install "${needed}"`,
    )
  }
}

/** The driver takes any number, and fails with the first message that it compresses. */
function requireLevel(level: string): void {
  if (/^(-1|\d)$/.test(level)) return
  throw refusedAddress(
    `"zlibCompressionLevel=${level}" is not a level of zlib`,
    'write a number from 0 to 9, or -1 for the default of zlib',
  )
}

function isInstalled(name: string): boolean {
  try {
    createRequire(import.meta.url).resolve(name)
    return true
  } catch {
    return false
  }
}

function optionOf(pair: string): Option {
  const [written = '', ...rest] = pair.split('=')
  const name = byLowerCase.get(decoded(written).toLowerCase()) ?? decoded(written)
  return { name, value: decoded(rest.join('=')) }
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return text
  }
}

/**
 * Removes the secrets of an address from the driver's messages: the passwords of the user, the key file and the proxy. Very
 * short ones stay, because removing them would break words.
 */
export function withoutSecrets(text: string, uri: string): string {
  const login = /^[a-z+]+:\/\/([^@]*)@/i.exec(uri)?.[1] ?? ''
  const password = login.slice(login.indexOf(':') + 1)
  const others = [...uri.matchAll(/(?:password|aws_session_token)[=:]([^&,]+)/gi)].map(
    ([, text = '']) => text,
  )
  return [password, ...others]
    .flatMap((secret) => [secret, decoded(secret)])
    .filter((secret) => secret.length >= 4)
    .reduce((cut, secret) => cut.replaceAll(secret, '[redacted]'), text)
}

/** The hint of options that cannot be used. */
export const listed = 'docs/configuration.md lists the options of an address'

const example = 'write it as mongodb://host:port/?replicaSet=NAME or mongodb+srv://host/'

/** `config-invalid` for an address. `why` is what is wrong, without anything that may be part of a password. */
export function refusedAddress(why: string, hint: string, cause?: unknown): KeyturnError {
  return new KeyturnError('config-invalid', `the MongoDB address cannot be used: ${why}`, {
    hint,
    ...(cause === undefined ? {} : { cause }),
  })
}
