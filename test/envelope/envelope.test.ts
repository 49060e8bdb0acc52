import { Binary, BSON, Double, Int32, Long } from 'mongodb'
import { describe, expect, test } from 'vitest'
import { parseEnvelope, parseWrapFields } from '../../envelope/envelope.ts'
import { wrapDigest } from '../../envelope/wrap-digest.ts'

const good = {
  format: 1,
  kek_version: 3,
  provider: 'env',
  dek_iv: Buffer.alloc(12, 1),
  dek_wrapped: Buffer.alloc(48, 2),
  iv: Buffer.alloc(12, 3),
  ciphertext: Buffer.alloc(20, 4),
}

function fault(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    const { code, message } = error as { code: string; message: string }
    return `${code}: ${message}`
  }
  return 'none'
}

describe('an envelope', () => {
  test('is read the same however the driver promoted its values', () => {
    const bytes = BSON.serialize(good)
    const readings = [
      BSON.deserialize(bytes),
      BSON.deserialize(bytes, { promoteBuffers: true }),
      BSON.deserialize(bytes, { promoteValues: false }),
      BSON.deserialize(bytes, { useBigInt64: true }),
      new Map(Object.entries(good)),
      { ...good, kek_version: Long.fromNumber(3), format: new Double(1) },
      { ...good, kek_version: 3n },
    ]
    for (const reading of readings) expect(parseEnvelope(reading)).toEqual(good)
  })

  test('may have unknown members, and an IV of a length that a token chose', () => {
    const value = { ...good, note: 'x', dek_iv: Buffer.alloc(16) }
    expect(parseEnvelope(value)).toEqual({ ...good, dek_iv: Buffer.alloc(16) })
  })

  test.each<[string, object, string]>([
    ['format missing', { format: undefined }, 'malformed: "format" is not an integer'],
    ['format as a text', { format: '1' }, 'malformed: "format" is not an integer'],
    ['version 0', { kek_version: 0 }, '"kek_version" is not an integer from 1 to 2147483647'],
    ['version 2^31', { kek_version: 2 ** 31 }, '"kek_version" is not an integer'],
    ['half a version', { kek_version: new Double(1.5) }, '"kek_version" is not an integer'],
    ['version NaN', { kek_version: NaN }, '"kek_version" is not an integer'],
    ['provider a number', { provider: 1 }, '"provider" is not a string'],
    ['wrap IV empty', { dek_iv: Buffer.of() }, '"dek_iv" has 0 bytes, not 12 to 64'],
    ['wrap IV as a text', { dek_iv: 'abc' }, '"dek_iv" is not a binary of subtype 0'],
    ['wrap of subtype 4', { dek_wrapped: new Binary(Buffer.alloc(48), 4) }, 'not a binary'],
    ['wrap cut', { dek_wrapped: Buffer.alloc(47) }, '"dek_wrapped" has 47 bytes, not 48'],
    ['IV cut', { iv: Buffer.alloc(11) }, '"iv" has 11 bytes, not 12'],
    ['data without a tag', { ciphertext: Buffer.alloc(15) }, 'has 15 bytes, not at least 16'],
    ['data missing', { ciphertext: null }, '"ciphertext" is not a binary of subtype 0'],
  ])('is malformed: %s', (_, change, message) => {
    const found = fault(() => parseEnvelope({ ...good, ...change }))
    expect(found).toMatch(/^malformed: the envelope is malformed: /)
    expect(found).toContain(message)
  })

  test.each([[null], [undefined], ['x'], [3], [[good]], [Buffer.alloc(4)], [new Date()]])(
    'is malformed when it is not a sub-document: %s',
    (value) => {
      expect(fault(() => parseEnvelope(value))).toBe(
        'malformed: the envelope is malformed: it is not a sub-document',
      )
    },
  )

  test('of a newer format or without a provider is reported as such', () => {
    expect(fault(() => parseEnvelope({ ...good, format: 2 }))).toBe(
      'format-unknown: the envelope has the unknown format "2"',
    )
    expect(fault(() => parseEnvelope({ ...good, provider: 'vault' }))).toBe(
      'wrong-provider: the envelope names the provider "vault"',
    )
  })

  test('without its data still has wrap fields', () => {
    expect(parseWrapFields({ ...good, iv: undefined, ciphertext: 'x' })).toEqual({
      kekVersion: 3,
      provider: 'env',
      dekIv: good.dek_iv,
      dekWrapped: good.dek_wrapped,
    })
  })
})

describe('the digest of the wrap fields', () => {
  const digest = (value: unknown) => wrapDigest(value).toString('hex')

  test('does not depend on promotion, on order or on the data', () => {
    const unpromoted = BSON.deserialize(BSON.serialize(good), { promoteValues: false })
    const reversed = Object.fromEntries(Object.entries(good).reverse())
    const noIv = { ...good, iv: undefined }
    for (const same of [unpromoted, reversed, noIv, { ...good, ciphertext: Buffer.of() }]) {
      expect(digest(same)).toBe(digest(good))
    }
    expect(wrapDigest(good)).toHaveLength(32)
  })

  test('changes with each of the five', () => {
    const others = [
      { format: 2 },
      { kek_version: 4 },
      { provider: 'pkcs11' },
      { dek_iv: Buffer.alloc(12, 9) },
      { dek_wrapped: Buffer.alloc(48, 9) },
      { dek_wrapped: new Binary(Buffer.alloc(48, 2), 4) },
    ].map((change) => digest({ ...good, ...change }))
    expect(new Set([digest(good), ...others]).size).toBe(7)
  })

  test('is defined for malformed envelopes, and distinguishes absent from null', () => {
    const odd = [
      {},
      null,
      'text',
      [1],
      { format: null },
      { kek_version: 'one' },
      { kek_version: new Int32(1), dek_iv: { nested: [1] } },
    ].map(digest)
    expect(new Set(odd).size).toBe(odd.length)
  })
})
