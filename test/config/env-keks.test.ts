import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { readEnvKeks } from '../../config/env-keks.ts'
import { fault } from './files.ts'

const key = randomBytes(32).toString('hex')
const read = (env: NodeJS.ProcessEnv) => readEnvKeks('KEK_V', env)
const refused = (env: NodeJS.ProcessEnv) => fault(() => read(env))

test('readEnvKeks finds keys by prefix and version, in the order of versions', () => {
  const keks = read({
    KEK_V10: key,
    KEK_V2: key.toUpperCase(),
    KEK_V: 'no version',
    KEK_VAULT: 'no version either',
    MY_KEK_V3: 'not ours',
    KEK_V2147483647: key,
  })
  expect([...keks.keys()]).toEqual([2, 10, 2_147_483_647])
  expect(keks.get(2)?.toString('hex')).toBe(key)
  expect(read({}).size).toBe(0)
})

test.each([
  ['is empty', ''],
  ['has 62 characters, not 64', key.slice(2)],
  ['has 66 characters, not 64', `${key}00`],
  ['has characters that are not hex', `${key.slice(1)}g`],
  ['has white space around its value', `${key}\n`],
  ['has white space around its value', ` ${key}`],
])('a variable that is not a key is refused without showing its value: it %s', (message, value) => {
  const answer = refused({ KEK_V1: key, KEK_V2: value })
  expect(answer).toBe(
    `env-key-invalid: variable "KEK_V2" ${message} | it must hold 64 hex characters: openssl rand -hex 32`,
  )
})

test.each(['0', '01', '2147483648', '99999999999999999999'])(
  'a variable for version %s is refused',
  (suffix) => {
    expect(refused({ [`KEK_V${suffix}`]: key })).toContain(
      `env-key-invalid: variable "KEK_V${suffix}" has no valid version number`,
    )
  },
)

const hex = (bytes: Iterable<number>) => Buffer.from([...bytes]).toString('hex')
const rows = (next: (at: number) => number) => hex(Array.from({ length: 32 }, (_, at) => next(at)))

test.each([
  ['is one byte repeated', '00'.repeat(32)],
  ['is one byte repeated', 'A5'.repeat(32)],
  ['is 2 bytes repeated', 'ab12'.repeat(16)],
  ['is 4 bytes repeated', 'deadbeef'.repeat(8)],
  ['is 8 bytes repeated', '0123456789abcdef'.repeat(4)],
  ['is 16 bytes repeated', key.slice(0, 32).repeat(2)],
  ['is 10 bytes repeated', key.slice(0, 20).repeat(4).slice(0, 64)],
  ['is a row of bytes that count', rows((at) => at)],
  ['is a row of bytes that count', rows((at) => 255 - at)],
  ['is a row of bytes that count', rows((at) => (7 + 17 * at) & 0xff)],
  ['has many equal bytes in a row', `${key.slice(0, 32)}${'00'.repeat(16)}`],
  ['has many equal bytes in a row', `${'00'.repeat(31)}01`],
  ['has few different bytes', rows((at) => Number('31415926535897932384626433832795'[at]))],
])('a key that is not random is refused without showing its value: it %s', (message, value) => {
  expect(refused({ KEK_V7: value })).toBe(
    `env-key-invalid: variable "KEK_V7" ${message}, not a random key | it must hold 64 hex characters: openssl rand -hex 32`,
  )
})

test('readEnvKeks accepts random keys', () => {
  for (let n = 0; n < 2_000; n += 1) read({ KEK_V1: randomBytes(32).toString('hex') })
})
