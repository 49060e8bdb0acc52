import { chmodSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { Writable } from 'node:stream'
import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import { waitUntil } from '../../../devstack/wait-until.ts'
import { silentLog } from '../../../observability/log.ts'
import { RequiredToken } from '../../../workers/listener/required-token.ts'
import { fault, freshFolder } from '../../config/files.ts'
import { ask, listener, outsideAddress, reason, send } from './support.ts'

const pages = ['/metrics', '/', '/api/status', '/none', '/metrics?x', '//metrics', '/%6detrics']
const secret = 'b3b0c44298fc1c149afbf4c8996fb924'

function tokenFile(text: string): string {
  const file = path.join(freshFolder(), 'token')
  writeFileSync(file, text)
  chmodSync(file, 0o600)
  return file
}

describe('a listener outside loopback without a token', () => {
  const open = async () => {
    const { address } = await listener({ listen: '0.0.0.0:0' })
    return address.replace('0.0.0.0', outsideAddress() ?? '127.0.0.1')
  }

  test('serves the two health pages, without the reason, and nothing else', async () => {
    const address = await open()
    expect(await ask(address, '/healthz')).toMatchObject({ status: 200, body: 'ok' })
    expect(await ask(address, '/readyz')).toMatchObject({ status: 503, body: 'not ready' })
    for (const page of pages) expect((await ask(address, page)).status).toBe(404)
  })

  test('is not opened by a name of this host, nor by a token that somebody made up', async () => {
    const address = await open()
    for (const headers of [{ host: 'localhost' }, { authorization: `Bearer ${secret}` }]) {
      expect((await ask(address, '/metrics', headers)).status).toBe(404)
      expect((await ask(address, '/readyz', headers)).body).toBe('not ready')
    }
  })

  test('says so in its log', async () => {
    const lines: string[] = []
    const stream = new Writable({
      write: (line: Buffer, _, done) => {
        lines.push(String(line))
        done()
      },
    })
    await listener({ listen: '0.0.0.0:0', log: pino(stream) })
    expect(lines.join('')).toContain('without worker.token_file, an address outside loopback')
  })
})

describe('a listener on loopback without a token', () => {
  test.each(['localhost', 'LOCALHOST:9464', '127.0.0.1', '127.0.0.1:1', '[::1]', '[::1]:9464'])(
    'answers to Host %s',
    async (host) => {
      const { address } = await listener()
      expect((await ask(address, '/metrics', { host })).status).toBe(200)
    },
  )

  test("answers to the name in worker.listen, and to an IPv6 listener's address", async () => {
    const named = await listener({ listen: 'LocalHost:0' })
    const port = named.address.split(':')[1] ?? ''
    expect((await ask(`localhost:${port}`, '/metrics')).status).toBe(200)
    const six = await listener({ listen: '[::1]:0' })
    expect((await ask(six.address, '/metrics')).status).toBe(200)
  })

  test.each([
    { host: 'evil.example' },
    { host: 'localhost.evil.example' },
    { host: 'evil.example:9464' },
    { host: '127.0.0.1.evil.example' },
    { host: '127.0.0.2' },
    { forwarded: 'for=192.0.2.1' },
    { via: '1.1 proxy' },
    { 'x-forwarded-for': '192.0.2.1' },
    { 'X-Forwarded-Host': 'localhost' },
    { 'x-forwarded-anything': '' },
  ])('refuses a request that was not meant for it: %j', async (headers) => {
    const { address } = await listener()
    for (const page of ['/healthz', '/readyz', ...pages]) {
      const { status, body } = await ask(address, page, headers)
      expect([page, status]).toEqual([page, 421])
      expect(body).not.toContain('lease')
    }
  })

  test('sees a second Host, a header after 2,000 others, and a request without a Host', async () => {
    const { address } = await listener()
    const filler = Array.from({ length: 2_000 }, () => 'a:\r\n').join('')
    const own = 'Host: localhost\r\nConnection: close\r\n'
    const refused = [
      `GET /metrics HTTP/1.1\r\n${own}Host: evil.example\r\n\r\n`,
      `GET /metrics HTTP/1.1\r\n${own}${filler}Via: 1.1 proxy\r\n\r\n`,
      'GET /metrics HTTP/1.0\r\n\r\n',
      'GET /metrics HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n',
    ]
    for (const request of refused) {
      const answer = await send(address, request)
      expect(answer).toMatch(/^HTTP\/1.1 4(21|31|00) /)
      expect(answer).not.toContain('figures')
    }
    expect(await send(address, `GET /metrics HTTP/1.1\r\n${own}\r\n`)).toContain('figures')
  })
})

describe.each(['127.0.0.1:0', '0.0.0.0:0'])('a listener at %s with a token', (listen) => {
  const open = async (file: string) => {
    const token = new RequiredToken(file, silentLog)
    const { address } = await listener({ listen, token })
    return address.replace('0.0.0.0', outsideAddress() ?? '127.0.0.1')
  }
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

  test('asks for it everywhere but on the health pages', async () => {
    const address = await open(tokenFile(`${secret}\n`))
    for (const page of pages) {
      const { status, headers } = await ask(address, page)
      expect([page, status]).toEqual([page, 401])
      expect(headers['www-authenticate']).toBe('Bearer realm="keyturn"')
    }
    expect((await ask(address, '/healthz')).status).toBe(200)
    expect(await ask(address, '/readyz')).toMatchObject({ status: 503, body: 'not ready' })
    expect((await ask(address, '/readyz', bearer(secret))).body).toBe(reason)
    expect((await ask(address, '/metrics', bearer(secret))).body).toBe('figures')
  })

  test('accepts it from a proxy, and no other', async () => {
    const address = await open(tokenFile(secret))
    const proxied = { ...bearer(secret), host: 'keyturn.example', 'x-forwarded-for': '192.0.2.1' }
    expect((await ask(address, '/metrics', proxied)).status).toBe(200)
    const others = ['', secret.slice(1), `${secret}0`, secret.toUpperCase(), `${secret} ${secret}`]
    for (const token of others) {
      expect((await ask(address, '/metrics', bearer(token))).status).toBe(401)
    }
    const basic = { authorization: `Basic ${Buffer.from(`:${secret}`).toString('base64')}` }
    expect((await ask(address, '/metrics', basic)).status).toBe(401)
  })

  test('follows the file: a new token, and none once it cannot be used', async () => {
    const file = tokenFile(secret)
    const address = await open(file)
    const statusIs = (token: string, wanted: number) =>
      waitUntil(
        `${wanted.toString()} with the token`,
        async () => (await ask(address, '/metrics', bearer(token))).status === wanted,
        { withinMs: 20_000 },
      )
    writeFileSync(file, 'another-token\n')
    await statusIs('another-token', 200)
    await statusIs(secret, 401)
    writeFileSync(file, '')
    await statusIs('another-token', 401)
    writeFileSync(file, secret)
    await statusIs(secret, 200)
    chmodSync(file, 0o644)
    await statusIs(secret, 401)
    rmSync(file)
    expect((await ask(address, '/healthz')).status).toBe(200)
  })
})

test('a token file that is empty, unsafe, missing or no Bearer token is refused at the start', () => {
  const found = (file: string) => fault(() => new RequiredToken(file, silentLog))
  for (const text of ['', '\n']) {
    expect(found(tokenFile(text))).toBe(
      'config-invalid: token file "token" is empty | make one: openssl rand -hex 32 > token',
    )
  }
  for (const text of ['two words', 'tök', 'a\n\n', ' a', '\uFEFFa', 'a\0']) {
    expect(found(tokenFile(text))).toMatch(/has characters that a Bearer token cannot have/)
    expect(found(tokenFile(text))).not.toContain('two words')
  }
  const open = tokenFile(secret)
  chmodSync(open, 0o644)
  expect(found(open)).toContain('token file "token" has mode "0644", not 0600 or 0400')
  expect(found(path.join(freshFolder(), 'none'))).toContain('cannot read token file "none": ENOENT')
})
