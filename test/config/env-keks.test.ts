import { randomBytes } from 'node:crypto'
import { expect, it } from 'vitest'
import { readEnvKeks } from '../../config/env-keks.ts'
import { fault } from './files.ts'

const key = randomBytes(32).toString('hex')
const read = (env: NodeJS.ProcessEnv) => readEnvKeks('KEK_V', env)
const refused = (env: NodeJS.ProcessEnv) => fault(() => read(env))

it('keks are found by prefix and version, in the order of versions', () => {
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

it.each([
  ['', 'is empty'],
  [key.slice(2), 'has 62 characters, not 64'],
  [`${key}00`, 'has 66 characters, not 64'],
  [`${key.slice(1)}g`, 'has characters that are not hex'],
  [`${key}\n`, 'has white space around its value'],
  [` ${key}`, 'has white space around its value'],
])('a value that is no key is refused and not shown: %#', (value, message) => {
  const answer = refused({ KEK_V1: key, KEK_V2: value })
  expect(answer).toBe(
    `env-key-invalid: variable 'KEK_V2' ${message} | it must hold 64 hex characters: openssl rand -hex 32`,
  )
})

it.each(['0', '01', '2147483648', '99999999999999999999'])(
  'a version that does not exist is refused: %s',
  (suffix) => {
    expect(refused({ [`KEK_V${suffix}`]: key })).toContain(
      `env-key-invalid: variable 'KEK_V${suffix}' names no version`,
    )
  },
)
