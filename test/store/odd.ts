import {
  Binary,
  BSONRegExp,
  BSONSymbol,
  Code,
  Decimal128,
  Double,
  Int32,
  Long,
  MaxKey,
  MinKey,
  ObjectId,
  Timestamp,
} from 'mongodb'
import fc from 'fast-check'

const decimals = [
  '1',
  '1.0',
  '1.5',
  '10E-1',
  '1E+1',
  '0',
  '-1',
  'NaN',
  'Infinity',
  '-Infinity',
  '2147483647',
  '2147483648',
  '1.000000000000000000000000000000001',
  '1E+6000',
  '0E-6000',
]

/** A value of every BSON type that this driver can write, numbers at the edges of what a version can be among them. */
export const anyValue: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(
    ...[null, true, false, '', 'one', '1', new Date(0), new ObjectId(), [], [1], {}, { a: 1 }],
    ...[new Int32(0), new Int32(-1), new Int32(1), new Int32(2), new Int32(2 ** 31 - 1)],
    ...[new Double(1), new Double(1.5), new Double(NaN), new Double(-0), new Double(2 ** 31)],
    ...[new Double(Infinity), new Double(-Infinity), new Double(1e300), new Double(-1)],
    ...[Long.fromNumber(1), Long.fromNumber(2 ** 31), Long.MAX_VALUE, Long.MIN_VALUE],
    ...decimals.map((text) => Decimal128.fromString(text)),
    ...[new Binary(Buffer.alloc(0)), new Binary(Buffer.alloc(12)), new Binary(Buffer.alloc(48))],
    ...[new Binary(Buffer.alloc(48), 4), new Binary(Buffer.from('old'), 2)],
    ...[new Timestamp({ t: 1, i: 1 }), new MinKey(), new MaxKey(), new BSONRegExp('a', 'i')],
    ...[new Code('1'), new BSONSymbol('one'), [{ kek_version: 1 }], [[new Int32(1)]]],
  ),
  fc.string({ maxLength: 8 }),
  fc.integer().map((n) => new Int32(n | 0)),
  fc.double().map((n) => new Double(n)),
)
