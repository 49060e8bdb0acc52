import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { KeyturnError } from '../contracts/errors.ts'
import { readPrivate } from './private-file.ts'

/**
 * An approver's private key, PKCS#8 PEM, from a file that only its user can read, with its raw public key in base64. Throws
 * usage, `pin-file-unsafe`, and approval-invalid for a key of another kind. No error shows any of the content.
 */
export function readApprovalKey(file: string): { key: KeyObject; raw: string } {
  const pem = readPrivate({
    file,
    noun: 'key file',
    missing: 'usage',
    unsafe: 'pin-file-unsafe',
  }).toString('utf8')
  const [, label = ''] = /-----BEGIN ([A-Z0-9 ]+)-----/.exec(pem) ?? []
  if (label === 'ENCRYPTED PRIVATE KEY') {
    throw refused(file, 'is encrypted', 'sign with openssl, which asks for its passphrase')
  }
  if (label === 'OPENSSH PRIVATE KEY') {
    throw refused(file, 'is in the format of OpenSSH', 'make a key with openssl genpkey')
  }
  if (label !== 'PRIVATE KEY') {
    throw refused(file, 'is no private key in PKCS#8 PEM', 'make one with openssl genpkey')
  }
  const key = parsed(file, pem)
  if (key.asymmetricKeyType !== 'ed25519') {
    const type = key.asymmetricKeyType ?? 'unknown'
    throw refused(file, `is a key of type ${type}, not ed25519`, 'approvers have Ed25519 keys')
  }
  const { x = '' } = createPublicKey(key).export({ format: 'jwk' })
  return { key, raw: Buffer.from(x, 'base64url').toString('base64') }
}

function parsed(file: string, pem: string): KeyObject {
  try {
    return createPrivateKey({ key: pem, format: 'pem', type: 'pkcs8' })
  } catch {
    // The cause could quote the content.
    throw refused(file, 'cannot be read as PKCS#8 PEM', 'make one with openssl genpkey')
  }
}

function refused(file: string, what: string, hint: string): KeyturnError {
  return new KeyturnError('approval-invalid', `the key in "${file}" ${what}`, {
    hint: `${hint} (docs/approvals.md)`,
  })
}
