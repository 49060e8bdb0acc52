import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canaryAad, dataAad, dekAad } from '../../envelope/aad.ts'
import { openData, sealData } from '../../envelope/data.ts'
import { gcmOpen, gcmSeal } from '../../envelope/gcm.ts'
import { idBytes } from '../../envelope/record-id.ts'
import { anyId, identity } from './ids.ts'

interface Spot {
  install: string
  collection: string
  field: string
  id: unknown
  version: number
}

const spot: fc.Arbitrary<Spot> = fc.record({
  install: fc.string({ minLength: 1, maxLength: 8 }),
  collection: fc.string({ minLength: 1, maxLength: 8 }),
  field: fc.string({ minLength: 1, maxLength: 8 }),
  id: anyId,
  version: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
})
const plaintext = fc.uint8Array({ maxLength: 100 })

const wrapAad = ({ install, collection, field, id, version }: Spot) =>
  dekAad(install, collection, field, idBytes(id), version)
const aadOf = ({ install, collection, field, id }: Spot) =>
  dataAad(install, collection, field, idBytes(id))

/** A whole envelope under `kek`, and the road back; both are what keyring and providers do with these functions. */
function seal(kek: Buffer, plain: Uint8Array, at: Spot) {
  const dek = randomBytes(32)
  const dekIv = randomBytes(12)
  return {
    dekIv,
    dekWrapped: gcmSeal(kek, dekIv, dek, wrapAad(at)),
    ...sealData(dek, plain, aadOf(at)),
  }
}

function open(kek: Buffer, envelope: ReturnType<typeof seal>, at: Spot): Buffer {
  const dek = gcmOpen(kek, envelope.dekIv, envelope.dekWrapped, wrapAad(at))
  return openData(dek, envelope, aadOf(at))
}

describe('an envelope', () => {
  const kek = randomBytes(32)

  test('opens where it was sealed', () => {
    fc.assert(
      fc.property(spot, plaintext, (at, plain) => {
        expect(open(kek, seal(kek, plain, at), at).equals(plain)).toBe(true)
      }),
    )
  })

  test('does not open in another install, collection, field, record or version', () => {
    fc.assert(
      fc.property(spot, spot, plaintext, (at, elsewhere, plain) => {
        const envelope = seal(kek, plain, at)
        for (const part of ['install', 'collection', 'field', 'id', 'version'] as const) {
          const moved = { ...at, [part]: elsewhere[part] }
          const stays =
            part === 'id' ? identity(at.id) === identity(moved.id) : at[part] === moved[part]
          if (stays) continue
          expect(() => open(kek, envelope, moved), part).toThrow()
        }
      }),
    )
  })

  test('does not open under another KEK', () => {
    fc.assert(
      fc.property(spot, plaintext, (at, plain) => {
        expect(() => open(randomBytes(32), seal(kek, plain, at), at)).toThrow()
      }),
    )
  })

  test('does not open with any one bit of it changed', () => {
    fc.assert(
      fc.property(spot, fc.uint8Array({ maxLength: 12 }), (at, plain) => {
        const envelope = seal(kek, plain, at)
        for (const member of ['dekIv', 'dekWrapped', 'iv', 'ciphertext'] as const) {
          for (let bit = 0; bit < envelope[member].length * 8; bit += 1) {
            const bytes = Buffer.from(envelope[member])
            bytes[bit >> 3]! ^= 1 << (bit & 7)
            const changed = { ...envelope, [member]: bytes }
            expect(() => open(kek, changed, at), `${member} bit ${bit}`).toThrow()
          }
        }
      }),
      { numRuns: 10 },
    )
  })

  test('does not open cut short or made longer', () => {
    fc.assert(
      fc.property(spot, plaintext, fc.nat({ max: 60 }), (at, plain, cut) => {
        const envelope = seal(kek, plain, at)
        for (const member of ['dekWrapped', 'ciphertext'] as const) {
          const shorter = envelope[member].subarray(
            0,
            Math.max(0, envelope[member].length - 1 - cut),
          )
          expect(() => open(kek, { ...envelope, [member]: shorter }, at)).toThrow()
          const longer = Buffer.concat([envelope[member], Buffer.alloc(1)])
          expect(() => open(kek, { ...envelope, [member]: longer }, at)).toThrow()
        }
      }),
    )
  })
})

test('data that does not open fails with a code and without content', () => {
  const dek = randomBytes(32)
  const { iv, ciphertext } = sealData(dek, Buffer.from('secret'), Buffer.alloc(32))
  expect(() => openData(dek, { iv, ciphertext }, Buffer.alloc(32, 1))).toThrow(
    expect.objectContaining({
      code: 'envelope-unreadable',
      message: 'the data does not open under its data key',
    }) as Error,
  )
  expect(() => openData(dek, { iv, ciphertext: Buffer.alloc(3) }, Buffer.alloc(32))).toThrow(
    expect.objectContaining({ code: 'envelope-unreadable' }) as Error,
  )
})

describe('AAD', () => {
  test('is 32 bytes and never the same for two lists of parts', () => {
    fc.assert(
      fc.property(spot, spot, (a, b) => {
        const same =
          (['install', 'collection', 'field'] as const).every((part) => a[part] === b[part]) &&
          identity(a.id) === identity(b.id)
        expect(aadOf(a)).toHaveLength(32)
        expect(aadOf(a).equals(aadOf(b))).toBe(same)
        expect(wrapAad(a).equals(wrapAad(b))).toBe(same && a.version === b.version)
      }),
    )
  })

  test('does not confuse parts whose text runs together', () => {
    const id = idBytes(1)
    expect(dataAad('a', 'bc', 'd', id).equals(dataAad('ab', 'c', 'd', id))).toBe(false)
    expect(dataAad('a', 'b', 'cd', id).equals(dataAad('a', 'bc', 'd', id))).toBe(false)
  })

  test('of wrap, data and canary differ', () => {
    const id = idBytes('')
    const three = [dekAad('a', '', '', id, 1), dataAad('a', '', '', id), canaryAad('a', 1)]
    expect(new Set(three.map((aad) => aad.toString('hex'))).size).toBe(3)
    expect(canaryAad('a', 1).equals(canaryAad('a', 2))).toBe(false)
  })
})
