import { KeyturnError } from '../contracts/errors.ts'
import { readPrivate } from './private-file.ts'

const code = 'config-invalid'

/**
 * The token in `worker.token_file`. Permissions are those of a PIN file, and one newline at the end is cut. Throws
 * `config-invalid`, also for what no `Authorization: Bearer` can hold (RFC 6750, section 2.1).
 */
export function readWorkerToken(file: string): string {
  const bytes = readPrivate({ file, noun: 'token file', missing: code, unsafe: code })
  const token = bytes.toString('latin1').replace(/\n$/, '')
  const hint = `make one: openssl rand -hex 32 > ${file}`
  if (token === '') throw new KeyturnError(code, `token file "${file}" is empty`, { hint })
  if (/^[A-Za-z0-9._~+/-]+=*$/.test(token)) return token
  throw new KeyturnError(
    code,
    `token file "${file}" has characters that a Bearer token cannot have`,
    { hint: `letters, digits and . _ ~ + / - are allowed; ${hint}` },
  )
}
