import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto'
import type { Db, Document } from 'mongodb'
import type { Keyring } from '../../keyring/index.ts'

/**
 * The demo's records: P-256 private keys in PEM, and API tokens at a nested path. Each record also has the SHA-256 of its
 * plaintext, to check that it still opens to the same secret.
 */
export interface Family {
  readonly collection: string
  readonly field: string
  /** Prefix of the `_id`s. */
  readonly prefix: string
  make(): string
}

export const certificates: Family = {
  collection: 'certificates',
  field: 'private_key',
  prefix: 'cert',
  make: () =>
    generateKeyPairSync('ec', {
      namedCurve: 'P-256',
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    }).privateKey,
}

export const dnsAccounts: Family = {
  collection: 'dns_accounts',
  field: 'secrets.api_token',
  prefix: 'dns',
  make: () => `dns_${randomBytes(30).toString('base64url')}`,
}

export const families = [certificates, dnsAccounts] as const

export const digestOf = (plaintext: Uint8Array | string): string =>
  createHash('sha256').update(plaintext).digest('hex')

/** By family and `_id`: the digest of the plaintext. */
export type Digests = Map<string, string>
export const digestKey = (family: Family, id: string): string => `${family.collection}/${id}`

const batch = 500

/** Writes `records` in all, half of each family, and answers with what is in them. */
export async function sealRecords(keyring: Keyring, db: Db, records: number): Promise<Digests> {
  const digests: Digests = new Map()
  for (const [index, family] of families.entries()) {
    const share = Math.floor((records + 1 - index) / families.length)
    for (let first = 0; first < share; first += batch) {
      const ids = Array.from(
        { length: Math.min(batch, share - first) },
        (_, offset) => `${family.prefix}-${(first + offset + 1).toString().padStart(6, '0')}`,
      )
      const documents = await sealedDocuments(keyring, family, ids)
      await db.collection<Document & { _id: string }>(family.collection).insertMany(documents)
      for (const { _id, sha256 } of documents) digests.set(digestKey(family, _id), sha256)
    }
  }
  return digests
}

export interface SealedDocument {
  _id: string
  sha256: string
  [path: string]: unknown
}

/** Documents as an application would store them: the secret is sealed, other fields are in the clear. */
export async function sealedDocuments(
  keyring: Keyring,
  family: Family,
  ids: readonly string[],
): Promise<SealedDocument[]> {
  const plaintexts = ids.map(() => family.make())
  const envelopes = await keyring.sealMany(
    ids.map((id, index) => ({ plaintext: plaintexts[index] ?? '', place: placeOf(family, id) })),
  )
  return ids.map((id, index) => ({
    _id: id,
    sha256: digestOf(plaintexts[index] ?? ''),
    ...nested(family.field.split('.'), envelopes[index]),
  }))
}

export const placeOf = ({ collection, field }: Family, id: string) => ({ collection, field, id })

/** The value at a dotted path of a document. */
export function at(document: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>((value, part) => (value as Document | undefined)?.[part], document)
}

function nested([head = '', ...rest]: string[], value: unknown): Document {
  return { [head]: rest.length === 0 ? value : nested(rest, value) }
}
