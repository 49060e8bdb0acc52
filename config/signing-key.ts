import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { existsSync, writeFileSync } from 'node:fs'
import { KeyturnError } from '../contracts/errors.ts'
import { reasonOf } from '../contracts/reasons.ts'
import { readPrivate } from './private-file.ts'

/** `audit.signing_key`: an Ed25519 key, PKCS#8 PEM, in a file that only the user of Keyturn may read. */

/** Null if there is no such file. Throws `config-invalid`. */
export function readSigningKey(file: string): KeyObject | null {
  if (!existsSync(file)) return null
  const code = 'config-invalid'
  const pem = readPrivate({ file, noun: 'signing key', missing: code, unsafe: code })
  const hint =
    'openssl genpkey -algorithm ed25519 makes one; so does keyturn setup, if the file is not there'
  let key: KeyObject
  try {
    key = createPrivateKey(pem)
  } catch (cause) {
    const reason = reasonOf(cause)
    throw new KeyturnError(code, `signing key "${file}" is no PEM of a private key: ${reason}`, {
      hint,
      cause,
    })
  }
  if (key.asymmetricKeyType === 'ed25519') return key
  const type = key.asymmetricKeyType ?? 'unknown'
  throw new KeyturnError(code, `signing key "${file}" is of type "${type}", not ed25519`, { hint })
}

/** Makes the key, readable by this user alone. Never replaces a file. */
export function makeSigningKey(file: string): KeyObject {
  const { privateKey } = generateKeyPairSync('ed25519')
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' })
  try {
    writeFileSync(file, pem, { mode: 0o600, flag: 'wx', flush: true })
  } catch (cause) {
    throw new KeyturnError(
      'system-refused',
      `cannot write signing key "${file}": ${reasonOf(cause)}`,
      {
        hint: 'make its folder, for the user that runs keyturn setup, or change audit.signing_key',
        cause,
      },
    )
  }
  return privateKey
}
