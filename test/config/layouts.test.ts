import { describe, expect, test } from 'vitest'
import { settingsOf } from '../../config/settings.ts'
import { settingsHash } from '../../store/settings-hash.ts'
import { fault, least, load as loadText } from './files.ts'

const text = (list: string) =>
  least.replace('certificates', 'records').replace('[private_key]', list)
const load = (list: string) => loadText(text(list))
const found = (list: string) => fault(() => load(list))

const layout =
  'layout: { version: key_version, wrapped: secret_dek, iv: prefix, encoding: base64, aad: { sha256: [id, field] } }'

describe('a declared layout', () => {
  test('is read with its field; its encoding is binary by default', () => {
    const config = load(`[{ field: secret, ${layout} }, token]`)
    expect(config.collections).toEqual([
      {
        name: 'records',
        envelopes: ['secret', 'token'],
        layouts: [
          {
            field: 'secret',
            layout: {
              version: 'key_version',
              wrapped: 'secret_dek',
              iv: 'prefix',
              encoding: 'base64',
              aad: { sha256: ['id', 'field'] },
            },
          },
        ],
      },
    ])
    const plain = load('[{ field: a, layout: { version: v, wrapped: w, iv: i, aad: none } }]')
    expect(plain.collections[0]?.layouts?.[0]?.layout.encoding).toBe('binary')
  })

  test('changes the hash of the settings; a field written as a section does not', () => {
    const hash = (list: string) => settingsHash(settingsOf(load(list))).toString('hex')
    expect(hash('[{ field: secret }]')).toBe(hash('[secret]'))
    expect(hash(`[{ field: secret, ${layout} }]`)).not.toBe(hash('[secret]'))
  })

  test.each([
    ['[{ field: a, layout: { version: v } }]', 'layout.wrapped" is missing'],
    ['[{ feild: a }]', 'allowed keys: field, layout'],
    ['[{ field: a, layout: { version: v, wrapped: w, iv: i, aad: some } }]', 'must be "keyturn"'],
    [
      '[{ field: a, layout: { version: v, wrapped: w, iv: i, aad: { sha256: [key] } } }]',
      'must be one of id, field, collection, install, version, or begin with "text:"',
    ],
    [
      '[{ field: a, layout: { version: v, wrapped: v, iv: i, aad: none } }]',
      'names the field "v" a second time',
    ],
    [
      '[{ field: a, layout: { version: v, wrapped: w, iv: prefix, aad: none } }, { field: b, layout: { version: v, wrapped: x, iv: prefix, aad: none } }]',
      'names the field "v" a second time',
    ],
    [
      '[secret, { field: b, layout: { version: secret.v, wrapped: x, iv: prefix, aad: none } }]',
      'is inside the field "secret"',
    ],
  ])('is refused when it is incomplete or overlaps another: %s', (list, message) => {
    expect(found(list)).toContain(message)
  })
})
