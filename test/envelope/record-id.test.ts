import fc from 'fast-check'
import { Binary, BSON, Decimal128, Double, Int32, Long, ObjectId, UUID } from 'mongodb'
import { describe, expect, test } from 'vitest'
import { idBytes, idBytesFromRaw } from '../../envelope/record-id.ts'
import { anyId, identity, stored } from './ids.ts'

const hexOf = (id: unknown) => idBytes(id).toString('hex')
const refused = (id: unknown) => {
  try {
    idBytes(id)
  } catch (error) {
    return (error as { code: string }).code
  }
  return null
}

describe('the bytes of an id, written out by hand', () => {
  test.each<[string, unknown, string]>([
    ['a string', 'aé', '0261c3a9'],
    ['an ObjectId', new ObjectId('65f0a1b2c3d4e5f60718293a'), '0765f0a1b2c3d4e5f60718293a'],
    [
      'a UUID',
      new UUID('01234567-89ab-4cde-8f01-23456789abcd'),
      '05040123456789ab4cde8f0123456789abcd',
    ],
    ['a legacy UUID', new Binary(Buffer.alloc(16, 7), 3), `0503${'07'.repeat(16)}`],
    ['binary of subtype 2', new Binary(Buffer.of(1, 2, 3), 2), '0502010203'],
    ['empty binary of subtype 2', new Binary(Buffer.of(), 2), '0502'],
    ['binary', new Binary(Buffer.of(1, 2, 3)), '0500010203'],
    ['a Buffer', Buffer.of(1, 2, 3), '0500010203'],
    ['a Uint8Array', Uint8Array.of(1, 2, 3), '0500010203'],
    ['a date', new Date(1), '090000000000000001'],
    ['a date before 1970', new Date(-1), '09ffffffffffffffff'],
    ['int32', new Int32(-2), '12fffffffffffffffe'],
    ['a number', 258, '120000000000000102'],
    ['a number beyond int32', 2 ** 32, '120000000100000000'],
    ['0', 0, '120000000000000000'],
    ['-0.0', -0, '120000000000000000'],
    ['a double of -0.0', new Double(-0), '120000000000000000'],
    ['a Long above 2^53', Long.fromString('9007199254740993'), '120020000000000001'],
    ['a BigInt above 2^53', 9007199254740993n, '120020000000000001'],
    ['an integral double beyond 2^53', 2 ** 62, '124000000000000000'],
    ['the least int64 as a double', -(2 ** 63), '128000000000000000'],
    ['2^63, which int64 does not hold', 2 ** 63, '0312000000015f696400000000000000e04300'],
    ['a fraction', 0.5, '0312000000015f696400000000000000e03f00'],
    ['not a number', new Double(NaN), '0312000000015f696400000000000000f87f00'],
    [
      'Decimal128, integral too',
      Decimal128.fromString('1'),
      '031a000000135f6964000100000000000000000000000000403000',
    ],
    ['a boolean', true, '030b000000085f6964000100'],
    ['null', null, '030a0000000a5f69640000'],
    ['a sub-document', { a: 1 }, '0316000000035f6964000c0000001061000100000000' + '00'],
    [
      'a sub-document with integer-like keys, as a Map in its stored order',
      new Map([
        ['b', true],
        ['1', false],
      ]),
      '0317000000035f6964000d0000000862000108310000' + '0000',
    ],
  ])('%s', (_, id, bytes) => {
    expect(hexOf(id)).toBe(bytes)
  })
})

describe('an id of whatever type', () => {
  test('has the bytes of its stored form', () => {
    fc.assert(
      fc.property(anyId, (id) => {
        expect(idBytesFromRaw(stored(id)).equals(idBytes(id))).toBe(true)
      }),
      { numRuns: 500 },
    )
  })

  test('has the same bytes after a round trip whenever the driver keeps the type', () => {
    fc.assert(
      fc.property(anyId, (id) => {
        const document = stored(id)
        const read = BSON.deserialize(document, { promoteValues: false, bsonRegExp: true }) as {
          _id: unknown
        }
        // Objects reorder integer-like keys: then only raw bytes tell.
        if (!stored(read._id).equals(document)) return
        expect(idBytesFromRaw(document).equals(idBytes(read._id))).toBe(true)
      }),
      { numRuns: 500 },
    )
  })

  test('shares its bytes with no other', () => {
    fc.assert(
      fc.property(anyId, anyId, (a, b) => {
        expect(idBytes(a).equals(idBytes(b))).toBe(identity(a) === identity(b))
      }),
      { numRuns: 2000 },
    )
  })

  test('has the same bytes as int32, int64 and double, and as BigInt and number', () => {
    fc.assert(
      fc.property(fc.integer(), (n) => {
        const all = [n, new Int32(n), Long.fromNumber(n), new Double(n), BigInt(n)].map(hexOf)
        expect(new Set(all).size).toBe(1)
      }),
    )
  })
})

describe('types that hold the same bytes', () => {
  test('stay apart', () => {
    const twelve = Buffer.from('abcdefghijkl')
    const alike = [
      'abcdefghijkl',
      twelve,
      new ObjectId(twelve),
      new Binary(twelve, 128),
      new Binary(twelve, 2),
      { _id: 'abcdefghijkl' },
    ]
    expect(new Set(alike.map(hexOf)).size).toBe(alike.length)
    expect(hexOf(1)).not.toBe(hexOf('1'))
    expect(hexOf(1)).not.toBe(hexOf(Decimal128.fromString('1')))
    expect(hexOf(1)).not.toBe(hexOf(new Date(1)))
  })
})

describe('raw documents', () => {
  test('keep what a driver would re-type: a double inside, and the order of integer-like keys', () => {
    const document = stored(
      new Map<string, unknown>([
        ['b', new Double(1)],
        ['1', 2],
      ]),
    )
    const { _id } = BSON.deserialize(document) as { _id: unknown }
    expect(idBytesFromRaw(document).equals(idBytes(_id))).toBe(false)
    expect(idBytesFromRaw(document).subarray(1).equals(document)).toBe(true)
  })

  test('may have other members around the id, and may be a view into larger memory', () => {
    const document = BSON.serialize({ before: 1, _id: 'x', _idx: 2, inner: { _id: 'y' } })
    const larger = new Uint8Array(document.length + 20)
    larger.set(document, 10)
    expect(idBytesFromRaw(larger.subarray(10, 10 + document.length)).toString('hex')).toBe('0278')
  })

  test('are refused without an id, and when they are no BSON', () => {
    expect(() => idBytesFromRaw(BSON.serialize({ id: 1 }))).toThrow('the record has no _id')
    expect(() => idBytesFromRaw(Buffer.of(9, 0, 0, 0))).toThrow('the record is not valid BSON')
    const wrongInner = stored(new Binary(Buffer.of(1, 2, 3), 2))
    wrongInner[14] = 9
    expect(() => idBytesFromRaw(wrongInner)).toThrow('wrong inner length')
  })
})

test('an id that MongoDB would store as another type is refused', () => {
  const ids = [undefined, Symbol('x'), () => 1, 2n ** 63n, -(2n ** 63n) - 1n, new Date(NaN)]
  expect(ids.map(refused)).toEqual(ids.map(() => 'id-unsupported'))
  const circular: Record<string, unknown> = {}
  circular['self'] = circular
  expect(refused(circular)).toBe('id-unsupported')
})
