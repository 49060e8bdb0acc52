import { describe, expect, test } from 'vitest'
import { ck, type Attribute } from '../../providers/pkcs11/lane/driver.ts'
import {
  destroyKey,
  historyWarnings,
  isNamed,
  type Session,
} from '../../providers/pkcs11/lane/key-objects.ts'

const handle = Buffer.alloc(8)
const id = Buffer.from('0102', 'hex')

/** A token that finds one key in every search, or `found` keys, and reports `attributes` for it. */
function tokenWith(attributes: Record<number, Buffer>, found = 0) {
  const destroyed: Buffer[] = []
  let searched = false
  const cryptoki = {
    C_FindObjectsInit: () => (searched = false),
    C_FindObjects: () => {
      const handles = searched ? [] : Array.from({ length: found }, () => handle)
      searched = true
      return handles
    },
    C_FindObjectsFinal: () => undefined,
    C_GetAttributeValue: (_session: Buffer, _key: Buffer, [{ type }]: [Attribute]) => [
      { type, value: attributes[type] ?? null },
    ],
    C_DestroyObject: (_session: Buffer, key: Buffer) => destroyed.push(key),
  }
  return { session: { cryptoki, handle } as unknown as Session, destroyed }
}

const named = (label: string, keyId = id) => ({
  [ck.CKA_LABEL]: Buffer.from(label),
  [ck.CKA_ID]: keyId,
})

describe('destroyKey', () => {
  test('destroys the key for which the token reports exactly this label and id', () => {
    const { session, destroyed } = tokenWith(named('kek-v1'))
    destroyKey(session, handle, 'kek-v1', id)
    expect(destroyed).toEqual([handle])
  })

  test('fails when the token reports success and keeps the key', () => {
    const { session } = tokenWith(named('kek-v1'), 1)
    expect(() => destroyKey(session, handle, 'kek-v1', id)).toThrow(
      expect.objectContaining({
        code: 'hsm-failed',
        message: 'key "kek-v1" is still there after C_DestroyObject',
      }),
    )
  })

  test.each([
    ['a longer label', named('kek-v11')],
    ['a label that was cut', named('kek-v')],
    ['a label that was padded', named('kek-v1 ')],
    ['another id', named('kek-v1', Buffer.from('01', 'hex'))],
    ['no name at all', {}],
  ])('keeps a key with %s, although the token found it', (_, attributes) => {
    const { session, destroyed } = tokenWith(attributes)
    expect(isNamed(session, handle, 'kek-v1', id)).toBe(false)
    expect(() => destroyKey(session, handle, 'kek-v1', id)).toThrow(
      expect.objectContaining({ code: 'key-attributes' }),
    )
    expect(destroyed).toEqual([])
  })
})

describe('the history of a key', () => {
  test('causes a warning only when the token reports it', () => {
    const doubtsOf = (attributes: Record<number, Buffer>) =>
      historyWarnings(tokenWith(attributes).session, handle)
    const no = Buffer.from([0])
    expect(doubtsOf({})).toEqual([])
    expect(doubtsOf({ [ck.CKA_NEVER_EXTRACTABLE]: Buffer.from([1]) })).toEqual([])
    expect(doubtsOf({ [ck.CKA_NEVER_EXTRACTABLE]: no })).toEqual(['CKA_NEVER_EXTRACTABLE=false'])
  })
})
