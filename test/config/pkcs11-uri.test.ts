import { expect, test } from 'vitest'
import { fault, load } from './files.ts'

const file = (pkcs11: string) => `install: payments
mongodb: { uri: "mongodb://127.0.0.1:27017", database: app }
kek:
  provider: pkcs11
  pkcs11: ${pkcs11}
collections:
  - { name: certificates, envelopes: [private_key] }
`
const config = (pkcs11: string) => load(file(pkcs11)).kek.pkcs11
const uri = (text: string, more = '') => config(`{ uri: "${text}"${more} }`)
const refused = (text: string, more = '') => fault(() => uri(text, more))

test('a URI gives the token, the label of its keys, the module and the PIN', () => {
  const text =
    'pkcs11:token=payments;object=payments-kek?module-path=/usr/lib/hsm.so&pin-source=file:/run/pin'
  expect(uri(text)).toMatchObject({
    token: { label: 'payments' },
    keyLabelPrefix: 'payments-kek',
    modulePath: '/usr/lib/hsm.so',
    pinFile: '/run/pin',
  })
})

test.each([
  ['pkcs11:token=My%20token%3b%20no%2e1?module-path=m', { token: { label: 'My token; no.1' } }],
  ['pkcs11:token=sch%C3%B6n?module-path=m', { token: { label: 'schön' } }],
  ['pkcs11:token=a+b?module-path=m', { token: { label: 'a+b' } }],
  [
    'pkcs11:serial=0123;model=SoftHSM%20v2?module-path=m',
    { token: { serial: '0123', model: 'SoftHSM v2' } },
  ],
  [
    'pkcs11:slot-id=7;manufacturer=Acme?module-path=m',
    { token: { slot: 7, manufacturer: 'Acme' } },
  ],
  ['pkcs11:token=t;object=k-v12;type=secret-key?module-path=m', { keyLabelPrefix: 'k' }],
  ['pkcs11:token=t?module-path=m', { keyLabelPrefix: 'keyturn-kek' }],
  ['pkcs11:token=t?pin-value=user:a%26b&module-path=m', { pin: 'user:a&b' }],
  ['pkcs11:token=t?module-path=m&pin-source=file:///run/pin', { pinFile: '/run/pin' }],
  ['pkcs11:token=t?module-path=m&pin-source=/run/pin', { pinFile: '/run/pin' }],
  ['pkcs11:?module-path=m&pin-source=/run/pin;token=t', null],
])('%s is read', (text, found) => {
  if (found === null) expect(refused(text)).toMatch(/names no token/)
  else expect(uri(text)).toMatchObject(found)
})

test('a relative pin-source starts at the folder of keyturn.yaml, and other keys are allowed beside the URI', () => {
  const found = uri('pkcs11:token=t?pin-source=file:pin', ', module_path: m, max_sessions: 3')
  expect(found).toMatchObject({ modulePath: 'm', maxSessions: 3 })
  expect(found?.pinFile).toMatch(/^\/.+\/pin$/)
})

test.each([
  ['http://example.com', 'must be a PKCS#11 URI that begins with "pkcs11:"'],
  ['pkcs11:object=k?module-path=m', 'names no token'],
  ['pkcs11:token=t;token=u?module-path=m', 'has "token" a second time'],
  ['pkcs11:token=?module-path=m', 'has "token" without a value'],
  ['pkcs11:token?module-path=m', 'has a part that is not name=value'],
  ['pkcs11:token=%ZZ?module-path=m', 'has "token" with a percent-encoding that is not UTF-8'],
  ['pkcs11:token=%FF?module-path=m', 'has "token" with a percent-encoding that is not UTF-8'],
  ['pkcs11:token=a%00b?module-path=m', 'has "token" without a value'],
  ['pkcs11:slot-id=x?module-path=m', 'has a "slot-id" that is not a number'],
  ['pkcs11:token=t;type=private?module-path=m', 'names a key of type "private"'],
  ['pkcs11:token=t;id=%01?module-path=m', 'has an attribute that is not used here: "id"'],
  ['pkcs11:token=t?module-path=m&x-mine=1', 'has an attribute that is not used here: "x-mine"'],
  ['pkcs11:token=t?module-path=m&pin-source=|cat', 'has a "pin-source" that is not a file'],
  [
    'pkcs11:token=t?module-path=m&pin-source=https://h/pin',
    'has a "pin-source" that is not a file',
  ],
  [
    'pkcs11:token=t?module-path=m&pin-source=file://host/pin',
    'has a "pin-source" that is not a file',
  ],
  [
    'pkcs11:token=t?module-path=m&pin-source=/p&pin-value=x',
    'has both "pin-source" and "pin-value"',
  ],
  ['pkcs11:token=t', '"kek.pkcs11.module_path" is missing'],
])('%s is refused', (text, message) => {
  expect(refused(text)).toMatch(/^config-invalid/)
  expect(refused(text)).toContain(message)
})

test.each([
  ['token_label: t', 'token_label'],
  ['token_serial: "1"', 'token_serial'],
  ['slot: 1', 'slot'],
  ['module_path: m', 'module_path'],
  ['key_label_prefix: k', 'key_label_prefix'],
  ['pin_file: p', 'pin_file'],
  ['pin: "1"', 'pin'],
])('a key that repeats a part of the URI is refused: %s', (key, name) => {
  const text = 'pkcs11:token=t;object=k?module-path=m&pin-source=file:/p'
  expect(refused(text, `, ${key}`)).toContain(`"kek.pkcs11.${name}" repeats what is in "uri"`)
})

test('no message shows the PIN of a URI', () => {
  for (const text of [
    'pkcs11:token=t?pin-value=hunter2&pin-value=hunter2',
    'pkcs11:token=t?pin-value=hunter2%ZZ&module-path=m',
    'http:hunter2',
    'pkcs11:token=t?pin-value=hunter2&pin-source=/p&module-path=m',
    'pkcs11:token=t?pin-value=hunter2',
  ]) {
    expect(refused(text)).not.toContain('hunter2')
    expect(refused(text)).toMatch(/^config-invalid/)
  }
})

test('environment and user type are read, and refused when they are malformed', () => {
  const base = 'module_path: m, slot: 1'
  expect(config(`{ ${base} }`)).not.toHaveProperty('userType')
  expect(config(`{ ${base}, user_type: crypto-user }`)).toMatchObject({ userType: 'crypto-user' })
  expect(config(`{ ${base}, environment: { A_B: "x" } }`)).toMatchObject({
    environment: { A_B: 'x' },
  })
  for (const wrong of [
    'user_type: so',
    'user_type: 2',
    'environment: [A]',
    'environment: { A: 1 }',
    'environment: { "A-B": "x" }',
  ]) {
    expect(fault(() => config(`{ ${base}, ${wrong} }`))).toMatch(/^config-invalid/)
  }
})
