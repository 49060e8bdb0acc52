import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import type { MongoClient } from 'mongodb'
import { reasonOf } from '../contracts/reasons.ts'
import { refusedAddress } from './mongodb-address.ts'

const fileOptions = ['tlsCAFile', 'tlsCertificateKeyFile', 'tlsCRLFile'] as const
type FileOption = (typeof fileOptions)[number]

/**
 * Reads the TLS files that an address names, before the driver does. For a missing file the driver gives only the system's
 * error, and for a file with the wrong content it fails only after its server selection. Throws `config-invalid` with
 * option and path.
 */
export function checkTlsFiles({ options }: MongoClient): void {
  for (const option of fileOptions) {
    const path = options[option]
    if (path === undefined) continue
    if (!options.tls) {
      throw refusedAddress(`"${option}" is there without tls=true`, 'add tls=true to the address')
    }
    const content = read(option, path)
    try {
      examine[option](content, options.passphrase)
    } catch (cause) {
      throw refusedAddress(
        `"${option}=${path}" cannot be used: ${reasonOf(cause)}`,
        expectations[option],
        cause,
      )
    }
  }
}

const examine: Record<FileOption, (content: Buffer, password: string | undefined) => object> = {
  tlsCAFile: (content) => new X509Certificate(content),
  tlsCertificateKeyFile: (content, passphrase) =>
    createSecureContext({
      cert: content,
      key: content,
      ...(passphrase === undefined ? {} : { passphrase }),
    }),
  tlsCRLFile: (content) => createSecureContext({ crl: content }),
}

const expectations: Record<FileOption, string> = {
  tlsCAFile: 'it has to hold certificates in PEM',
  tlsCertificateKeyFile:
    'it has to hold a certificate and its private key in PEM, and tlsCertificateKeyFilePassword where the key is encrypted',
  tlsCRLFile: 'it has to hold a certificate revocation list in PEM',
}

function read(option: FileOption, path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (cause) {
    throw refusedAddress(
      `"${option}=${path}" cannot be read: ${reasonOf(cause)}`,
      'name a file that the user that runs keyturn can read',
      cause,
    )
  }
}
