import { readFile } from 'node:fs/promises'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Cryptoki } from '../../providers/pkcs11/lane/driver.ts'
import * as ckrCodes from '../../providers/pkcs11/wire/ckr-codes.ts'
import { CkrError, faultFrom } from '../../providers/pkcs11/wire/errors.ts'
import { faultOf } from '../../providers/pkcs11/wire/fault-class.ts'
import { pack, unpack } from '../../providers/pkcs11/wire/packing.ts'
import { findToken, sameToken, type Token } from '../../providers/pkcs11/lane/token.ts'
import { malformedWrap } from '../../providers/wrap-shape.ts'

describe('a packed batch', () => {
  const field = fc.uint8Array({ maxLength: 80 })

  test('unpacks to what was packed', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(field, field, field)), (items) => {
        const bytes = items.map((item) => item.map((part) => Buffer.from(part)))
        expect(unpack(pack(items), 3)).toEqual(bytes)
      }),
    )
  })

  test('is refused when it is cut off', () => {
    const packed = pack([[Buffer.alloc(12), Buffer.alloc(48)]])
    expect(() => unpack(packed.subarray(0, -1), 2)).toThrow(RangeError)
    expect(() => unpack(packed, 3)).toThrow(RangeError)
  })
})

describe('the return codes of a module', () => {
  test.each([
    ['CKR_SESSION_HANDLE_INVALID', 'session'],
    ['CKR_OPERATION_ACTIVE', 'session'],
    ['CKR_DEVICE_ERROR', 'reconnect'],
    ['CKR_USER_NOT_LOGGED_IN', 'reconnect'],
    ['CKR_FUNCTION_FAILED', 'back-off'],
    ['CKR_SESSION_COUNT', 'back-off'],
    ['CKR_KEY_HANDLE_INVALID', 'key'],
    ['CKR_ENCRYPTED_DATA_INVALID', 'data'],
    ['CKR_PIN_INCORRECT', 'pin'],
    ['CKR_MECHANISM_INVALID', 'never'],
  ] as const)('%s is of class "%s"', (name, fault) => expect(faultOf(ckrCodes[name])).toBe(fault))

  test('the code of a vendor is of class "never"', () => {
    expect(faultOf(0x8000_0001)).toBe('never')
  })

  test('have the names and numbers of the standard', async () => {
    const header = 'node_modules/pkcs11js/includes/pkcs11/pkcs11t.h'
    const lines = (await readFile(header, 'utf8')).matchAll(/define (CKR_\w+)\s+(0x[0-9A-F]+)UL/gi)
    const standard = new Map([...lines].map(([, name = '', value]) => [name, Number(value)]))
    // The header is that of v2.40, which lacks the codes that v3 added.
    const known = Object.entries(ckrCodes).filter(([name]) => standard.has(name))
    expect(known.length).toBeGreaterThan(60)
    expect(known).toEqual(known.map(([name]) => [name, standard.get(name)]))
  })

  test('are reported with the function, the name and the number', () => {
    expect(faultFrom(new CkrError('C_Encrypt', ckrCodes.CKR_DEVICE_ERROR))).toMatchObject({
      code: 'hsm-away',
      message: 'C_Encrypt answered CKR_DEVICE_ERROR (48)',
    })
    expect(faultFrom(new CkrError('C_Encrypt', 0x8000_0001))).toMatchObject({
      message: 'C_Encrypt answered a vendor code (2147483649)',
    })
    const locked = faultFrom(new CkrError('C_Login', ckrCodes.CKR_PIN_LOCKED))
    expect(locked).toMatchObject({ code: 'pin-locked' })
    const unread = faultFrom(new CkrError('C_Login', ckrCodes.CKR_ARGUMENTS_BAD))
    expect(unread.hint).toContain('configuration file')
  })
})

describe('one token in several slots', () => {
  const token = (slot: number, serial: string, label = 'Fortanix Token'): Token => ({
    slot: Buffer.from([slot, 0, 0, 0, 0, 0, 0, 0]),
    name: { label, serial, manufacturer: 'm', model: 'o', firmware: '1.0' },
    flags: 0,
    maxSessions: null,
  })

  test('counts as one token when serial, label, manufacturer and model are equal', () => {
    expect(sameToken(token(0, '42'), token(1, '42'))).toBe(true)
    expect(sameToken(token(0, '42'), token(1, '43'))).toBe(false)
    expect(sameToken(token(0, '42'), token(1, '42', 'other'))).toBe(false)
  })

  test('counts as several when the serial is empty or zeros', () => {
    expect(sameToken(token(0, ''), token(1, ''))).toBe(false)
    expect(sameToken(token(0, '0000000000000000'), token(1, '0000000000000000'))).toBe(false)
  })
})

describe('the token that is configured', () => {
  const padded = (text: string, length: number) => text.padEnd(length)
  /** Slots 5 and 6 with a token each; the second reports `max` sessions. */
  const cryptoki = (max: number) =>
    ({
      C_GetSlotList: () => [5, 6].map((slot) => Buffer.from([slot, 0, 0, 0, 0, 0, 0, 0])),
      C_GetTokenInfo: (slot: Buffer) => ({
        label: padded(`token ${slot[0]}`, 32),
        serialNumber: padded(`0${slot[0]}`, 16),
        manufacturerID: 'm',
        model: 'o',
        firmwareVersion: { major: 2, minor: 6 },
        flags: 0x400,
        maxRwSessionCount: slot[0] === 6 ? max : 1,
      }),
    }) as unknown as Cryptoki

  test.each([[{ slot: 6 }], [{ label: 'token 6' }], [{ serial: '06' }]])(
    'is found by %j alone',
    (wanted) => {
      const { name, maxSessions } = findToken(cryptoki(1024), wanted)
      expect(name).toMatchObject({ label: 'token 6', serial: '06', firmware: '2.6' })
      expect(maxSessions).toBe(1024)
    },
  )

  test('is not found by a part of its name; the hint lists the tokens', () => {
    const there = 'there are: "token 5" (serial 05, slot 5); "token 6" (serial 06, slot 6)'
    for (const wanted of [{ label: 'token' }, { serial: '6' }, { slot: 0 }]) {
      const find = () => findToken(cryptoki(1), wanted)
      expect(find).toThrow(expect.objectContaining({ code: 'token-not-found', hint: there }))
    }
  })

  test.each([0, 0xffff_ffff, 0xffff_fffe])('that reports %d sessions has no limit', (max) => {
    expect(findToken(cryptoki(max), { slot: 6 }).maxSessions).toBeNull()
  })
})

describe('malformedWrap', () => {
  test('accepts only wraps of 48 bytes with an IV of 1 to 16 bytes', () => {
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
