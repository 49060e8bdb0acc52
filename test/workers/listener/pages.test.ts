import { expect, test } from 'vitest'
import { ask, listener, reason } from './support.ts'

test('on loopback, the pages are served without a token', async () => {
  const { address } = await listener()
  expect(await ask(address, '/healthz')).toMatchObject({ status: 200, body: 'ok' })
  expect(await ask(address, '/readyz')).toMatchObject({ status: 503, body: reason })
  expect(await ask(address, '/metrics?a=b')).toMatchObject({ status: 200, body: 'figures' })
  expect(await ask(address, '/metrics/')).toMatchObject({ status: 404 })
})

test('HEAD is answered without a body; other methods and bodies are refused', async () => {
  const { address } = await listener()
  expect(await ask(address, '/metrics', {}, 'HEAD')).toMatchObject({ status: 200, body: '' })
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'PATCH']) {
    const { status, headers } = await ask(address, '/metrics', {}, method)
    expect([method, status, headers.allow]).toEqual([method, 405, 'GET, HEAD'])
  }
  const large = { 'content-length': '1000000000' }
  expect(await ask(address, '/metrics', large)).toMatchObject({
    status: 413,
    headers: { connection: 'close' },
  })
})

test('every answer has the security headers', async () => {
  const { address } = await listener()
  for (const path of ['/healthz', '/readyz', '/metrics', '/none']) {
    const { headers } = await ask(address, path)
    expect(headers).toMatchObject({
      'content-security-policy': expect.stringContaining("default-src 'none'") as string,
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cross-origin-resource-policy': 'same-origin',
      'cache-control': 'no-store',
    })
    expect(headers).not.toHaveProperty('access-control-allow-origin')
  }
})

test('a failed rendering is not served again', async () => {
  let failed = false
  const metrics = async () => {
    if (failed) return 'well\n'
    failed = true
    throw new Error('not now')
  }
  const { address } = await listener({ metrics })
  expect(await ask(address, '/metrics')).toMatchObject({ status: 500, body: 'the page failed' })
  expect((await ask(address, '/metrics')).status).toBe(200)
})

test('/api/status is JSON, and 503 before there is an overview', async () => {
  const { address } = await listener()
  const { status, headers, body } = await ask(address, '/api/status')
  expect([status, headers['content-type']]).toEqual([200, 'application/json'])
  expect(JSON.parse(body)).toEqual({ asOf: '2026-01-01T00:00:00.000Z' })
  const early = await listener({ status: async () => null })
  expect(await ask(early.address, '/api/status')).toMatchObject({
    status: 503,
    body: '{"asOf":null}',
  })
})
