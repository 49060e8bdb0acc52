import { createHash } from 'node:crypto'
import { Binary, BSON, Decimal128, Double, Int32, Long, ObjectId, UUID } from 'mongodb'
import { canaryAad, dataAad, dekAad } from '../../envelope/aad.ts'
import { gcmSeal } from '../../envelope/gcm.ts'
import { idBytes } from '../../envelope/record-id.ts'

/**
 * The published vectors. `npx vitest run test/envelope/vectors.test.ts` with UPDATE_VECTORS=1 writes them anew;
 * check.py derives them again without any of this code. Fixed keys and IVs: for tests and never for data.
 */

const install = 'payments'
const collection = 'certificates'
const field = 'secrets.private_key'
const kek = range(0x00, 32)
const dek = range(0x40, 32)
const dekIv = range(0xa0, 12)
const iv = range(0xb0, 12)
const plaintext = Buffer.from('-----BEGIN PRIVATE KEY----- ünïcode', 'utf8')
const legacyUuid = Buffer.from('00112233445566778899aabbccddeeff', 'hex')

/** Name, value as a driver is given it. */
const ids: [name: string, value: unknown][] = [
  ['string', 'alice@example.org'],
  ['string, empty', ''],
  ['string beyond ASCII', 'Zoë 🗝'],
  ['ObjectId', new ObjectId('65f0a1b2c3d4e5f60718293a')],
  ['UUID', new UUID('01234567-89ab-4cde-8f01-23456789abcd')],
  ['legacy UUID (binary subtype 3)', new Binary(legacyUuid, 3)],
  ['binary subtype 0', new Binary(Buffer.from('00ff10', 'hex'), 0)],
  ['binary subtype 2 (inner length left out)', new Binary(Buffer.from('00ff10', 'hex'), 2)],
  ['date', new Date('2024-02-29T12:34:56.789Z')],
  ['date before 1970', new Date('1969-12-31T23:59:59.999Z')],
  ['int32', new Int32(42)],
  ['int32, negative', new Int32(-1)],
  ['int64', Long.fromString('42')],
  ['int64 above 2^53', Long.fromString('9007199254740993')],
  ['int64, least', Long.fromString('-9223372036854775808')],
  ['int64, greatest', Long.fromString('9223372036854775807')],
  ['double, integral', new Double(42)],
  ['double, integral above 2^53', new Double(2 ** 60)],
  ['double, minus zero', new Double(-0)],
  ['double, -2^63', new Double(-(2 ** 63))],
  ['double, 2^63 (no int64)', new Double(2 ** 63)],
  ['double, fraction', new Double(0.5)],
  ['Decimal128', Decimal128.fromString('42')],
  ['boolean', true],
  ['null', null],
  ['sub-document', new Map<string, unknown>([['tenant', 'acme'], ['number', new Double(7)]])],
  ['sub-document with integer-like keys', new Map<string, unknown>([['b', 1], ['10', 2], ['2', 3]])],
]

export function makeVectors(): Record<string, object> {
  return {
    'record-ids.json': {
      description: 'id bytes by type: document is the stored BSON {_id: …}, id its canonical EJSON',
      ids: ids.map(([name, value]) => ({ name, ...idVector(value) })),
    },
    'envelopes.json': {
      description: 'one envelope per id type under kek version 3; all bytes in hex',
      install,
      collection,
      field,
      kek: hex(kek),
      kekVersion: 3,
      dek: hex(dek),
      plaintext: hex(plaintext),
      envelopes: ids.map(([name, value]) => ({ name, ...envelopeVector(value, 3) })),
    },
    'canary.json': canaryVector(),
  }
}

function idVector(value: unknown) {
  const document = Buffer.from(BSON.serialize({ _id: value }))
  return {
    document: hex(document),
    id: readBack(document),
    idBytes: hex(idBytes(value)),
  }
}

function envelopeVector(value: unknown, version: number) {
  const id = idBytes(value)
  const wrapAad = dekAad(install, collection, field, id, version)
  const aad = dataAad(install, collection, field, id)
  return {
    idBytes: hex(id),
    dekAad: hex(wrapAad),
    dataAad: hex(aad),
    envelope: {
      format: 1,
      kek_version: version,
      provider: 'env',
      dek_iv: hex(dekIv),
      dek_wrapped: hex(gcmSeal(kek, dekIv, dek, wrapAad)),
      iv: hex(iv),
      ciphertext: hex(gcmSeal(dek, iv, plaintext, aad)),
    },
  }
}

function canaryVector() {
  const secret = range(0xc0, 32)
  const aad = canaryAad(install, 3)
  return {
    description: 'the canary of kek version 3; all bytes in hex',
    install,
    kek: hex(kek),
    kekVersion: 3,
    secret: hex(secret),
    aad: hex(aad),
    dek_iv: hex(dekIv),
    dek_wrapped: hex(gcmSeal(kek, dekIv, secret, aad)),
    digest: hex(createHash('sha256').update(secret).digest()),
  }
}

/** Canonical EJSON; the members of a sub-document stand in JavaScript's order there, so `document` counts. */
function readBack(document: Buffer): unknown {
  const { _id } = BSON.deserialize(document, { promoteValues: false }) as { _id: unknown }
  return BSON.EJSON.serialize(_id, { relaxed: false })
}

function range(first: number, length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, at) => (first + at) & 0xff))
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
