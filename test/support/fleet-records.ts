import { createHash, randomBytes } from 'node:crypto'
import type { Binary } from 'mongodb'
import { BSON, ObjectId, type Document } from 'mongodb'
import { KeyturnError } from '../../contracts/errors.ts'
import type { Keyring } from '../../keyring/index.ts'
import type { Store } from '../../store/store.ts'

/** The fields of the test's records: one at the top level, one nested. */
export const places = [
  { collection: 'certificates', field: 'private_key' },
  { collection: 'accounts', field: 'secrets.token' },
] as const

export type RecordPlace = (typeof places)[number]

/** What an envelope must open to, as digests, so that no plaintext is kept. */
export interface Expected {
  readonly plaintext: string
  /** Digest of `iv` and `ciphertext`, which no rotation may change. */
  readonly data: string
}

/** The test's own list of every record that it wrote. */
export interface Records {
  /** Seals and inserts so many records, spread over the places, ids of several types. */
  fill(keyring: Keyring, count: number): Promise<void>
  /** Records by the key of place and id; `forget` those that a test deletes or breaks. */
  readonly book: Map<string, Expected>
  keyOf(place: RecordPlace, id: unknown): string
  /**
   * Opens every envelope and compares it with the book: the plaintext, and for `unchanged` also `iv` and `ciphertext`.
   * Throws with the first differences; returns the number of envelopes by version.
   */
  verify(
    keyring: Keyring,
    options?: { except?: ReadonlySet<string> },
  ): Promise<Record<number, number>>
}

export function recordsOf(store: Store): Records {
  const book = new Map<string, Expected>()
  const keyOf = ({ collection, field }: RecordPlace, id: unknown) =>
    `${collection}/${field}/${BSON.EJSON.stringify(id)}`
  return {
    book,
    keyOf,
    async fill(keyring, count) {
      for (let at = 0; at < count; at += 500) {
        const some = Array.from({ length: Math.min(500, count - at) }, (_, index) => {
          const place = places[index % 2] ?? places[0]
          return { place: { ...place, id: newId(at + index) }, plaintext: newPlaintext() }
        })
        const envelopes = await keyring.sealMany(some)
        for (const place of places) {
          const documents = some.flatMap((one, index) =>
            one.place.collection === place.collection
              ? [documentOf(place, one.place.id, envelopes[index])]
              : [],
          )
          if (documents.length > 0)
            await store.db.collection(place.collection).insertMany(documents)
        }
        for (const [index, { place, plaintext }] of some.entries()) {
          const { iv, ciphertext } = envelopes[index] ?? { iv: '', ciphertext: '' }
          book.set(keyOf(place, place.id), {
            plaintext: digestOf(plaintext),
            data: digestOf(iv, ciphertext),
          })
        }
      }
    },
    async verify(keyring, { except = new Set() } = {}) {
      const wrong: string[] = []
      const byVersion: Record<number, number> = {}
      const missing = new Set(book.keys())
      for (const place of places) {
        const documents = await store.db.collection(place.collection).find().toArray()
        const requests = documents
          .filter(({ _id }) => !except.has(keyOf(place, _id)))
          .map((document) => ({
            envelope: envelopeAt(document, place.field),
            place: { ...place, id: document._id },
          }))
        const opened = await keyring.openMany(requests)
        for (const [index, { envelope, place: where }] of requests.entries()) {
          const key = keyOf(place, where.id)
          const expected = book.get(key)
          missing.delete(key)
          const answer = opened[index]
          const { iv, ciphertext, kek_version: version } = envelope
          byVersion[version] = (byVersion[version] ?? 0) + 1
          if (answer === undefined || answer instanceof KeyturnError) {
            wrong.push(`${key} under v${version}: ${answer?.code ?? 'no answer'}`)
          } else if (expected === undefined) wrong.push(`${key} is not in the book`)
          else if (digestOf(answer) !== expected.plaintext) wrong.push(`${key}: another plaintext`)
          else if (digestOf(iv.value(), ciphertext.value()) !== expected.data) {
            wrong.push(`${key}: iv or ciphertext changed`)
          }
        }
      }
      for (const key of missing) if (!except.has(key)) wrong.push(`${key} is gone`)
      if (wrong.length > 0) {
        throw new Error(`${wrong.length} records are wrong: ${wrong.slice(0, 5).join('; ')}`)
      }
      return byVersion
    },
  }
}

interface StoredEnvelope {
  kek_version: number
  provider: string
  dek_iv: Binary
  dek_wrapped: Binary
  iv: Binary
  ciphertext: Binary
}

export function envelopeAt(document: Document, field: string): StoredEnvelope {
  let value: unknown = document
  for (const name of field.split('.')) value = (value as Record<string, unknown>)[name]
  return value as StoredEnvelope
}

/** A whole document, as an application would insert it. */
export function documentOf(
  { field }: RecordPlace,
  id: unknown,
  envelope: unknown,
  rest: object = {},
): Document {
  const value = field
    .split('.')
    .reduceRight<unknown>((inner, name) => ({ [name]: inner }), envelope)
  return { _id: id, ...rest, ...(value as object) }
}

export function digestOf(...parts: readonly (Uint8Array | string)[]): string {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest('hex')
}

export function newPlaintext(): string {
  return `secret ${randomBytes(24).toString('base64')}`
}

/** Strings, ObjectIds and numbers in turn (two in a row, since neighbours go to different places). */
function newId(index: number): unknown {
  switch ((index >> 1) % 3) {
    case 0:
      return `r-${String(index).padStart(6, '0')}-${randomBytes(4).toString('hex')}`
    case 1:
      return new ObjectId()
    default:
      return randomBytes(6).readUIntBE(0, 6)
  }
}
