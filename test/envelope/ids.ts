import fc from 'fast-check'
import { Binary, BSON, Decimal128, Double, Int32, Long, ObjectId, Timestamp, UUID } from 'mongodb'

/** Ids of every type, as a driver is given them; sub-documents as Maps, which keep their order. */
export const anyId: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  id: fc.oneof(tie('scalar'), tie('document')),
  document: fc
    .uniqueArray(fc.tuple(fc.oneof(fc.nat({ max: 99 }).map(String), memberName()), tie('id')), {
      selector: ([name]) => name,
      maxLength: 4,
    })
    .map((members) => new Map(members)),
  scalar: fc.oneof(
    fc.string({ unit: 'grapheme' }),
    bytes(12).map((value) => new ObjectId(value)),
    bytes(16).map((value) => new UUID(value)),
    fc
      .tuple(fc.uint8Array({ maxLength: 40 }), fc.constantFrom(0, 1, 2, 3, 4, 5, 6, 8, 128, 255))
      .map(([payload, subtype]) => new Binary(payload, subtype)),
    fc.date({ noInvalidDate: true }),
    fc.integer().map((value) => new Int32(value)),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    fc.double().map((value) => new Double(value)),
    fc.integer().map((value) => new Double(value)),
    fc.double(),
    fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }).map((n) => Decimal128.fromString(`${n}`)),
    fc.boolean(),
    fc.constant(null),
    fc.nat().map((value) => new Timestamp({ t: value, i: 1 })),
  ),
})).id

export function stored(id: unknown): Buffer {
  return Buffer.from(BSON.serialize({ _id: id }))
}

/** What distinguishes two ids in MongoDB: type and value, where all integral numbers of int64 are one type. */
export function identity(id: unknown): string {
  const value = integral(id)
  return value === null ? `stored ${stored(id).toString('hex')}` : `integer ${value}`
}

function integral(id: unknown): string | null {
  const number = id instanceof Double || id instanceof Int32 ? id.value : id
  if (typeof number === 'bigint') return `${number}`
  if (number instanceof Long && !(number instanceof Timestamp)) return number.toString()
  const fits = typeof number === 'number' && Number.isInteger(number)
  return fits && number >= -(2 ** 63) && number < 2 ** 63 ? `${BigInt(number)}` : null
}

function bytes(length: number) {
  return fc.uint8Array({ minLength: length, maxLength: length })
}

function memberName() {
  return fc.string({ maxLength: 5 }).filter((name) => !name.includes('\0') && name !== '__proto__')
}
