import { randomBytes } from 'node:crypto'
import { Binary, Long, ObjectId } from 'mongodb'
import { describe, expect, test } from 'vitest'
import { KeyturnError } from '../../contracts/errors.ts'
import { createLog, logOf } from '../../observability/log.ts'
import { redactUri } from '../../observability/redact.ts'

function listen(level = 'trace') {
  const written: string[] = []
  const log = createLog(
    { level, pretty: false, base: { node: 'vm-a' } },
    { write: (line) => written.push(line) },
  )
  return {
    log,
    text: () => written.join(''),
    last: () => JSON.parse(written.at(-1) ?? '{}') as Record<string, unknown>,
  }
}

describe('a line', () => {
  test('has time, base, component, members and message', () => {
    const { log, last } = listen()
    logOf(log, 'sweep', { shard: 's1' }).info({ page: 7 }, 'page written')
    expect(last()).toEqual({
      level: 30,
      time: expect.stringMatching(/^\d{4}-.*Z$/) as string,
      node: 'vm-a',
      part: 'sweep',
      shard: 's1',
      page: 7,
      msg: 'page written',
    })
  })

  test('below the level is not written', () => {
    const { log, text } = listen('warn')
    log.info('x')
    expect(text()).toBe('')
  })

  test('shows an error with code, hint and cause', () => {
    const { log, last } = listen()
    const cause = new Error('C_Login failed')
    log.error(new KeyturnError('pin-refused', 'no', { hint: 'look', cause }))
    expect(last()).toMatchObject({
      msg: 'no',
      err: { type: 'KeyturnError', code: 'pin-refused', hint: 'look', message: 'no' },
    })
    expect(last()['err']).toMatchObject({ cause: { message: 'C_Login failed' } })
    expect((last()['err'] as { stack: string }).stack).toContain('log.test.ts')
  })

  test('keeps ordinary names that only look like secrets', () => {
    const { log, last } = listen()
    const members = {
      kek_version: 3,
      kek: 3,
      key: 'keyturn-kek-v3',
      token: { label: 'payments', serial: '0123' },
      pinFile: '/run/keyturn/pin',
      id: new ObjectId('65f0a1b2c3d4e5f60718293a'),
      big: 5n,
      at: new Date(0),
      loaded: new Set([1, 2]),
      byCode: new Map([['CKR', 1]]),
    }
    log.info(members, 'x')
    expect(last()).toMatchObject({
      ...members,
      id: '65f0a1b2c3d4e5f60718293a',
      big: '5',
      at: '1970-01-01T00:00:00.000Z',
      loaded: [1, 2],
      byCode: { CKR: 1 },
    })
  })
})

describe('secrets', () => {
  const bytes = randomBytes(32)
  const spellings = ['hex', 'base64', 'base64url'] as const

  test.each<[string, object]>([
    ['pin', { pin: 'hunter2' }],
    ['a pin inside', { config: { kek: { pkcs11: { pin: 'hunter2', user_pin: 'hunter2' } } } }],
    ['a password', { options: [{ Password: 'hunter2' }, { pass_phrase: 'hunter2' }] }],
    ['an address', { uri: 'mongodb://app:hunter2@db1,db2/?replicaSet=rs' }],
    ['an address in a text', { text: 'cannot reach "mongodb+srv://app:hunter2@db" now' }],
    ['an address with a raw @ in it', { uri: 'mongodb://app:hunter2@hunter2@db/' }],
    ['an error', { err: new Error('no mongodb://app:hunter2@db') }],
    ['a cause', { err: new Error('x', { cause: new Error('https://u:hunter2@h') }) }],
    ['members of an error', { err: Object.assign(new Error('x'), { pin: 'hunter2' }) }],
    ['deep members', { a: { b: { c: { d: { e: { f: { g: { h: { pin: 'hunter2' } } } } } } } } }],
    ['a map', { env: new Map([['pin', 'hunter2']]) }],
  ])('are removed: %s', (_, members) => {
    const { log, text } = listen()
    log.warn(members, 'something')
    log.child(members).warn('something')
    expect(text().split('\n')).toHaveLength(3)
    expect(text()).not.toContain('hunter2')
  })

  test('are removed from the message itself', () => {
    const { log, text } = listen()
    log.error('cannot reach %s', 'mongodb://app:hunter2@db')
    log.error(new Error('no mongodb://app:hunter2@db'))
    expect(text()).not.toContain('hunter2')
    expect(text()).toContain('mongodb://[redacted]@db')
  })

  test.each<[string, object]>([
    ['a Buffer', { x: bytes }],
    ['bytes', { x: [new Uint8Array(bytes)] }],
    ['memory', { x: new Uint8Array(bytes).buffer }],
    ['BSON binary', { x: { y: new Binary(bytes) } }],
    ['a DEK as text', { dek: bytes.toString('hex') }],
    ['a KEK as text', { kek: bytes.toString('base64') }],
    ['keys as text', { keys: ['x', bytes.toString('hex')] }],
    ['bytes of an error', { err: Object.assign(new Error('x'), { dek: bytes, other: bytes }) }],
  ])('in binary are never written: %s', (_, members) => {
    const { log, text } = listen()
    log.warn(members, 'something')
    for (const spelling of spellings) expect(text()).not.toContain(bytes.toString(spelling))
    expect(text()).not.toContain(`${bytes[0]},${bytes[1]},${bytes[2]}`)
    expect(text()).not.toContain('"data":[')
  })

  test('do not make a log fail: cycles, getters that throw, values that are no JSON', () => {
    const { log, text } = listen()
    const circle: Record<string, unknown> = { n: Long.fromNumber(3), f: () => 1, u: undefined }
    circle['self'] = circle
    log.info({ circle }, 'around')
    expect(text()).toContain('[too deep]')
  })
})

test.each([
  ['mongodb://127.0.0.1:27017/app?x=1', 'mongodb://127.0.0.1:27017/app?x=1'],
  ['mongodb://u:p@h1,h2/app', 'mongodb://[redacted]@h1,h2/app'],
  ['mongodb+srv://u:p%40@h', 'mongodb+srv://[redacted]@h'],
  ['mongodb://u@h', 'mongodb://[redacted]@h'],
  ['mongodb://u:p/w@h/x', 'mongodb://[redacted]@h/x'],
  ['', ''],
])('the address %s is shown as %s', (uri, shown) => {
  expect(redactUri(uri)).toBe(shown)
})
