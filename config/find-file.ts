import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { KeyturnError } from '../contracts/errors.ts'

export interface LookUp {
  /** From `--config`; relative to `cwd`. */
  file?: string
  env?: NodeJS.ProcessEnv
  cwd?: string
}

const systemWide = '/etc/keyturn/keyturn.yaml'

/**
 * The configuration file: `--config`, else KEYTURN_CONFIG, else ./keyturn.yaml, else /etc/keyturn/keyturn.yaml. A file that
 * was named must be there. Throws `config-missing`, or `config-invalid` for one that cannot be read.
 */
export function readConfigFile(options: LookUp): { file: string; text: string } {
  const file = findFile(options)
  try {
    return { file, text: textOf(file, readFileSync(file)) }
  } catch (cause) {
    if (cause instanceof KeyturnError) throw cause
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT') throw missing(`there is no configuration file "${file}"`)
    throw new KeyturnError(
      'config-invalid',
      `cannot read the configuration file "${file}": ${code ?? String(cause)}`,
      {
        hint:
          code === 'EISDIR'
            ? 'give the path of the file in that folder'
            : 'give the user that runs keyturn permission to read it',
        cause,
      },
    )
  }
}

/** Bytes that are not UTF-8 would be replaced silently, also in a password; so they are refused. */
function textOf(file: string, bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new KeyturnError('config-invalid', `the configuration file "${file}" is not UTF-8 text`, {
      hint: 'save it as UTF-8: an editor may have written UTF-16 or Latin-1',
      cause,
    })
  }
}

function findFile({ file, env = process.env, cwd = process.cwd() }: LookUp): string {
  const named = file ?? (env['KEYTURN_CONFIG'] || undefined)
  if (named !== undefined) return path.resolve(cwd, named)
  const found = [path.join(cwd, 'keyturn.yaml'), systemWide].find((place) => existsSync(place))
  if (found === undefined) {
    throw missing(`no configuration file: neither "./keyturn.yaml" nor "${systemWide}" exists`)
  }
  return found
}

function missing(message: string): KeyturnError {
  return new KeyturnError('config-missing', message, {
    hint: 'set --config FILE or KEYTURN_CONFIG; docs/configuration.md describes keyturn.yaml',
  })
}
