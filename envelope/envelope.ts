import { KeyturnError } from '../contracts/errors.ts'
import type { ProviderName } from '../contracts/kek.ts'
import { asBinary, asDocument, asInteger } from './bson-values.ts'
import { ivLength, keyLength, tagLength } from './gcm.ts'

/** The envelope as it is stored, `keyturn-1` (docs/envelope.md). `provider` and versions change by rotation only. */
export interface Envelope {
  format: 1
  kek_version: number
  provider: ProviderName
  /** IV of the wrap as it must be given to unwrap: 12 bytes unless the token chose otherwise. */
  dek_iv: Buffer
  /** 48 bytes: ciphertext of the DEK, then the tag. */
  dek_wrapped: Buffer
  /** 12 bytes. */
  iv: Buffer
  /** Ciphertext of the data, then the 16-byte tag. */
  ciphertext: Buffer
}

/** What a rotation reads of an envelope. */
export interface WrapFields {
  kekVersion: number
  provider: ProviderName
  dekIv: Buffer
  dekWrapped: Buffer
}

/** The members of an envelope to project for `parseWrapFields` and `wrapDigest`; both need all five. */
export const wrapFieldNames = [
  'format',
  'kek_version',
  'provider',
  'dek_iv',
  'dek_wrapped',
] as const

export const envelopeFormat = 1
/** KEK versions are 1 to 2^31 - 1 (int32 in BSON). */
export const maxKekVersion = 2 ** 31 - 1
/** Length of `dek_wrapped` in every IV mode, in bytes. */
export const wrappedLength = keyLength + tagLength
/** Bytes of an IV that a token may choose: fewer than 96 bits are unsafe with GCM; known tokens write 12 or 16. */
export const dekIvLengths = { least: ivLength, most: 64 }

/**
 * Checks shape and types of a whole envelope; BSON values may be promoted or not. Throws `malformed`,
 * `format-unknown`, or `wrong-provider` for a provider that does not exist. Members it does not know are ignored.
 */
export function parseEnvelope(value: unknown): Envelope {
  const wrap = parseWrapFields(value)
  const members = documentOf(value)
  const iv = binaryOf(members, 'iv')
  if (iv.length !== ivLength) throw wrongLength('iv', iv, `${ivLength}`)
  const ciphertext = binaryOf(members, 'ciphertext')
  if (ciphertext.length < tagLength) {
    throw wrongLength('ciphertext', ciphertext, `at least ${tagLength}`)
  }
  return {
    format: envelopeFormat,
    kek_version: wrap.kekVersion,
    provider: wrap.provider,
    dek_iv: wrap.dekIv,
    dek_wrapped: wrap.dekWrapped,
    iv,
    ciphertext,
  }
}

/** The same for the members that a rotation reads (`wrapFieldNames`), with or without the data. */
export function parseWrapFields(value: unknown): WrapFields {
  const members = documentOf(value)
  checkFormat(members['format'])
  const kekVersion = asInteger(members['kek_version'])
  if (kekVersion === null || kekVersion < 1 || kekVersion > maxKekVersion) {
    throw malformed(`"kek_version" is not an integer from 1 to ${maxKekVersion}`)
  }
  const provider = parseProvider(members['provider'])
  const dekIv = binaryOf(members, 'dek_iv')
  if (dekIv.length < dekIvLengths.least || dekIv.length > dekIvLengths.most) {
    throw wrongLength('dek_iv', dekIv, `${dekIvLengths.least} to ${dekIvLengths.most}`)
  }
  const dekWrapped = binaryOf(members, 'dek_wrapped')
  if (dekWrapped.length !== wrappedLength) {
    throw wrongLength('dek_wrapped', dekWrapped, `${wrappedLength}`)
  }
  return { kekVersion, provider, dekIv, dekWrapped }
}

function checkFormat(value: unknown): void {
  const format = asInteger(value)
  if (format === null) throw malformed('"format" is not an integer')
  if (format !== envelopeFormat) {
    throw new KeyturnError('format-unknown', `the envelope has the unknown format "${format}"`, {
      hint: 'it was written by a newer keyturn, or changed: this one reads format 1',
    })
  }
}

function parseProvider(value: unknown): ProviderName {
  if (typeof value !== 'string') throw malformed('"provider" is not a string')
  if (value !== 'env' && value !== 'pkcs11') {
    throw new KeyturnError('wrong-provider', `the envelope names the provider "${value}"`, {
      hint: 'providers are "env" and "pkcs11"',
    })
  }
  return value
}

function documentOf(value: unknown): Readonly<Record<string, unknown>> {
  const members = asDocument(value)
  if (members === null) throw malformed('it is not a sub-document')
  return members
}

function binaryOf(members: Readonly<Record<string, unknown>>, name: string): Buffer {
  const bytes = asBinary(members[name])
  if (bytes === null) throw malformed(`"${name}" is not a binary of subtype 0`)
  return bytes
}

function wrongLength(name: string, bytes: Buffer, wanted: string): KeyturnError {
  return malformed(`"${name}" has ${bytes.length} bytes, not ${wanted}`)
}

export function malformed(what: string): KeyturnError {
  return new KeyturnError('malformed', `the envelope is malformed: ${what}`, {
    hint: 'restore the record from a backup, or see: keyturn quarantine list',
  })
}
