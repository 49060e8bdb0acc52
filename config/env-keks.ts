import { KeyturnError } from '../contracts/errors.ts'
import { notRandom } from './not-random.ts'

const maxVersion = 2 ** 31 - 1

/**
 * KEKs of the `env` provider, by version: all variables named `<prefix><version>`, each 64 hex characters (32 bytes).
 * Throws `env-key-invalid` for any other value, with the variable's name and never its value.
 */
export function readEnvKeks(variablePrefix: string, env: NodeJS.ProcessEnv): Map<number, Buffer> {
  const keks = new Map<number, Buffer>()
  for (const [name, value] of Object.entries(env)) {
    const suffix = name.startsWith(variablePrefix) ? name.slice(variablePrefix.length) : ''
    if (value === undefined || !/^\d+$/.test(suffix)) continue
    keks.set(versionOf(variablePrefix, suffix), keyOf(name, value))
  }
  return new Map([...keks].sort(([a], [b]) => a - b))
}

function versionOf(prefix: string, suffix: string): number {
  const version = Number(suffix)
  if (version >= 1 && version <= maxVersion && String(version) === suffix) return version
  throw new KeyturnError(
    'env-key-invalid',
    `variable "${prefix}${suffix}" has no valid version number`,
    {
      hint: `versions go from 1 to ${maxVersion}, without leading zeros: ${prefix}1`,
    },
  )
}

function keyOf(name: string, value: string): Buffer {
  const key = /^[0-9a-fA-F]{64}$/.test(value) ? Buffer.from(value, 'hex') : null
  const wrong = key === null ? fault(value) : notRandom(key)
  if (key !== null && wrong === null) return key
  throw new KeyturnError('env-key-invalid', `variable "${name}" ${wrong ?? ''}`, {
    hint: 'it must hold 64 hex characters: openssl rand -hex 32',
  })
}

function fault(value: string): string {
  if (value === '') return 'is empty'
  if (value.trim() !== value) return 'has white space around its value'
  if (!/^[0-9a-fA-F]*$/.test(value)) return 'has characters that are not hex'
  return `has ${value.length} characters, not 64`
}
