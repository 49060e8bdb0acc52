import { randomBytes } from 'node:crypto'
import {
  Binary,
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
  UUID,
} from 'mongodb'

/** 20 kinds of `_id` that MongoDB takes, `each` of every kind that has so many, shuffled. */
export function kindsOfIds(each: number): unknown[] {
  const kinds: ((n: number) => unknown)[] = [
    (n) => new Int32(n * 8),
    (n) => new Double(n * 8 + 1),
    (n) => Long.fromNumber(n * 8 + 2),
    (n) => new Double(n * 8 + 0.5),
    (n) => Long.fromString('9007199254740993').add(n * 2),
    (n) => Decimal128.fromString(`${n}.26E+3`),
    (n) => `text ${n}`,
    (n) => `später ☃ ${n}`,
    () => new ObjectId(),
    () => new UUID(),
    () => new Binary(randomBytes(9)),
    () => new Binary(randomBytes(9), 2),
    () => new Binary(randomBytes(20), 128),
    (n) => new Date(1_700_000_000_000 + n),
    (n) => new Date(-n - 1),
    (n) => new Timestamp({ t: 1000 + n, i: n }),
    (n) =>
      new Map<string, unknown>([
        ['b', n],
        ['a', 'x'],
      ]),
    // Integer-like keys, which JavaScript reorders, and numbers that a driver would re-type.
    (n) =>
      new Map<string, unknown>([
        ['10', new Double(n)],
        ['2', Long.fromNumber(n)],
        [
          '1',
          new Map([
            ['7', new Int32(n)],
            ['3', null],
          ]),
        ],
      ]),
    (n) => new Code(`function() { return ${n} }`),
    (n) => new BSONSymbol(`symbol ${n}`),
  ]
  const single = [
    null,
    true,
    false,
    new MinKey(),
    new MaxKey(),
    new Double(Infinity),
    new Double(NaN),
  ]
  const ids = [
    ...kinds.flatMap((kind) => Array.from({ length: each }, (_, n) => kind(n))),
    ...single,
  ]
  return ids
    .map((id) => ({ id, at: Math.random() }))
    .sort((one, other) => one.at - other.at)
    .map(({ id }) => id)
}
