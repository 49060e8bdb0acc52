import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CkrError, faultFrom, faultOf } from '../../providers/pkcs11/errors.ts'
import { pack, unpack } from '../../providers/pkcs11/packing.ts'
import { sameToken, type Token } from '../../providers/pkcs11/token.ts'
import { malformedWrap } from '../../providers/wrap-shape.ts'

describe('a packed batch', () => {
  const field = fc.uint8Array({ maxLength: 80 })

  it('unpacks to what was packed', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(field, field, field)), (items) => {
        const bytes = items.map((item) => item.map((part) => Buffer.from(part)))
        expect(unpack(pack(items), 3)).toEqual(bytes)
      }),
    )
  })

  it('is refused when it is cut off', () => {
    const packed = pack([[Buffer.alloc(12), Buffer.alloc(48)]])
    expect(() => unpack(packed.subarray(0, -1), 2)).toThrow(RangeError)
    expect(() => unpack(packed, 3)).toThrow(RangeError)
  })
})

describe('answers of a module', () => {
  it.each([
    [179, 'session'],
    [144, 'session'],
    [48, 'reconnect'],
    [257, 'reconnect'],
    [6, 'back-off'],
    [177, 'back-off'],
    [96, 'key'],
    [64, 'data'],
    [160, 'pin'],
    [112, 'never'],
    [0x8000_0001, 'never'],
  ] as const)('%i is of class "%s"', (ckr, fault) => expect(faultOf(ckr)).toBe(fault))

  it('name function, CKR name and number', () => {
    expect(faultFrom(new CkrError('C_Encrypt', 48))).toMatchObject({
      code: 'hsm-away',
      message: 'C_Encrypt answered CKR_DEVICE_ERROR (48)',
    })
    expect(faultFrom(new CkrError('C_Login', 164))).toMatchObject({ code: 'pin-locked' })
    expect(faultFrom(new CkrError('C_Login', 7)).hint).toContain('configuration file')
  })
})

describe('one token in several slots', () => {
  const token = (slot: number, serial: string, label = 'Fortanix Token'): Token => ({
    slot: Buffer.from([slot, 0, 0, 0, 0, 0, 0, 0]),
    name: { label, serial, manufacturer: 'm', model: 'o', firmware: '1.0' },
    flags: 0,
    maxSessions: null,
  })

  it('is one when serial, label, manufacturer and model are equal', () => {
    expect(sameToken(token(0, '42'), token(1, '42'))).toBe(true)
    expect(sameToken(token(0, '42'), token(1, '43'))).toBe(false)
    expect(sameToken(token(0, '42'), token(1, '42', 'other'))).toBe(false)
  })

  it('is not joined by an empty serial or one of zeros', () => {
    expect(sameToken(token(0, ''), token(1, ''))).toBe(false)
    expect(sameToken(token(0, '0000000000000000'), token(1, '0000000000000000'))).toBe(false)
  })
})

describe('sizes of a wrap', () => {
  it('are 48 bytes, and an IV of 1 to 16', () => {
    const wrap = (iv: number, wrapped: number): string | null =>
      malformedWrap({ iv: Buffer.alloc(iv), wrapped: Buffer.alloc(wrapped) })
    expect(wrap(12, 48)).toBeNull()
    expect(wrap(1, 48)).toBeNull()
    expect(wrap(16, 48)).toBeNull()
    expect(wrap(0, 48)).toBe('an IV has 1 to 16 bytes, this one 0')
    expect(wrap(17, 48)).toBe('an IV has 1 to 16 bytes, this one 17')
    expect(wrap(12, 49)).toBe('a wrapped DEK has 48 bytes, this one 49')
    expect(malformedWrap({ dek: Buffer.alloc(31) })).toBe('a DEK has 32 bytes, this one 31')
  })
})
