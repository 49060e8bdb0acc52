import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer as createWebServer } from 'node:http'
import { createServer as createHttp2Server } from 'node:http2'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest'
import { withTemporal } from '../../client/temporal/connection.ts'
import { missingAttributes } from '../../client/temporal/search-attributes.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import type { Config } from '../../contracts/settings.ts'
import { waitUntil } from '../../devstack/wait-until.ts'
import { connectTemporal } from '../../workers/hosts.ts'

const folder = mkdtempSync(join(tmpdir(), 'keyturn-temporal-causes-'))
const servers: Server[] = []
const at = { web: '', silent: '', tls: '' }

async function listen(server: Server): Promise<string> {
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Speaks gRPC, and answers each call with one status; `after`: only after the connection's first call. */
async function answering(
  status: number,
  message: string,
  after = false,
  asked = { times: 0 },
): Promise<string> {
  const server = createHttp2Server()
  server.on('stream', (stream, headers) => {
    const grpc = { ':status': 200, 'content-type': 'application/grpc' }
    if (after && String(headers[':path']).endsWith('GetSystemInfo')) {
      stream.respond(grpc, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
      stream.end(Buffer.alloc(5))
      return
    }
    const end = { 'grpc-status': String(status), 'grpc-message': message }
    asked.times += 1
    stream.respond({ ...grpc, ...end }, { endStream: true })
  })
  return listen(server)
}

beforeAll(async () => {
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const subject = ['-days', '2', '-subj', '/CN=localhost', '-keyout', key, '-out', cert]
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...subject], {
    stdio: 'ignore',
  })
  at.web = await listen(createWebServer((_, response) => response.end('a web server')))
  at.silent = await listen(createServer((socket) => socket.on('error', () => undefined)))
  const tls = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (socket) => {
    socket.on('error', () => undefined).end()
  })
  tls.on('tlsClientError', () => undefined)
  at.tls = await listen(tls)
})

afterEach(() => {
  for (const name of Object.keys(process.env)) {
    if (name.startsWith('TEMPORAL_')) Reflect.deleteProperty(process.env, name)
  }
})

afterAll(() => {
  for (const server of servers) server.close()
  rmSync(folder, { recursive: true, force: true })
})

function configOf(address: string, namespace?: string): Config {
  const temporal = { address, ...(namespace === undefined ? {} : { namespace }) }
  return { temporal } as unknown as Config
}

async function failureOf(use: () => Promise<unknown>): Promise<KeyturnError> {
  const error = await use().then(
    () => null,
    (failed: unknown) => failed,
  )
  expect(error).toBeInstanceOf(KeyturnError)
  const { message, hint } = error as KeyturnError
  expect(message).not.toMatch(/\n|\.$|s3cret/)
  expect(hint).toMatch(/./)
  expect(hint).not.toContain('keyturn doctor')
  return error as KeyturnError
}

const asClient = (config: Config) => failureOf(() => withTemporal(config, missingAttributes, 1500))
const asWorker = (config: Config) => failureOf(() => connectTemporal(config))

type Case = [string, () => string | Promise<string>, string, RegExp, RegExp, NodeJS.ProcessEnv?]

const onTheWay: Case[] = [
  [
    'nobody listens',
    () => '127.0.0.1:1',
    'temporal-unreachable',
    /connection refused/,
    /temporal\.address/,
  ],
  [
    'the name is not there',
    () => 'nosuch.invalid:7233',
    'temporal-unreachable',
    /name|lookup/i,
    /DNS/,
  ],
  [
    'TLS meets a plain server',
    () => inject('temporalAddress'),
    'temporal-unreachable',
    /does not speak TLS/,
    /TEMPORAL_TLS=false/,
    { TEMPORAL_TLS: 'true' },
  ],
  [
    'an API key meets a plain server',
    () => inject('temporalAddress'),
    'temporal-unreachable',
    /does not speak TLS/,
    /API key turns it on/,
    { TEMPORAL_API_KEY: 's3cret-key' },
  ],
  [
    'plain meets a TLS server',
    () => at.tls,
    'temporal-unreachable',
    /closes the connection/,
    /TEMPORAL_TLS=true/,
  ],
  [
    'its certificate is not known',
    () => at.tls,
    'temporal-unreachable',
    /certificate/,
    /TEMPORAL_TLS_SERVER_CA_CERT_PATH/,
    { TEMPORAL_TLS: 'true' },
  ],
  ['it is a web server', () => at.web, 'temporal-unreachable', /does not speak gRPC/, /7233/],
  [
    'it is MongoDB',
    () => new URL(inject('mongoUri')).host,
    'temporal-unreachable',
    /closes the connection/,
    /that it is Temporal/,
  ],
  [
    'the address is a URL',
    () => 'http://127.0.0.1:7233',
    'config-invalid',
    /cannot be used: invalid address/,
    /host:port/,
  ],
  [
    'the client is not known',
    () => answering(16, 'Jwt expired with s3cret-key.'),
    'temporal-refused',
    /does not accept this client: jwt expired/,
    /TEMPORAL_API_KEY/,
    { TEMPORAL_API_KEY: 's3cret-key', TEMPORAL_TLS: 'false' },
  ],
  [
    'the client may not',
    () => answering(7, 'Request unauthorized.'),
    'temporal-refused',
    /does not permit this call: request unauthorized/,
    /write access/,
  ],
  [
    'it is over its limit',
    () => answering(8, 'Namespace RPS exceeded.'),
    'temporal-refused',
    /has reached its limit: namespace RPS exceeded/,
    /limits/,
  ],
]

describe('temporal, when', () => {
  test.each(onTheWay)(
    '%s, clients and workers report it',
    async (_, address, code, message, hint, env = {}) => {
      Object.assign(process.env, env)
      const config = configOf(await address())
      for (const failure of [await asClient(config), await asWorker(config)]) {
        expect(failure).toMatchObject({ code, message: expect.stringMatching(message) as string })
        expect(failure.hint).toMatch(hint)
      }
    },
  )

  test.each([
    [
      'it accepts the connection and does not answer',
      () => at.silent,
      'temporal-unreachable',
      /does not answer/,
      /firewall/,
    ],
    [
      'the namespace is not there',
      () => inject('temporalAddress'),
      'temporal-refused',
      /namespace "nope", does not have this namespace: namespace nope is not found/,
      /namespace create/,
    ],
    [
      'it is another gRPC server',
      () => answering(12, 'Unknown service.', true),
      'temporal-refused',
      /does not support this call/,
      /another gRPC server/,
    ],
    [
      'it permits only the connection',
      () => answering(7, 'No access.', true),
      'temporal-refused',
      /does not permit this call: no access/,
      /namespace/,
    ],
    [
      'it is too slow',
      () => answering(4, 'Too slow.', true),
      'temporal-unreachable',
      /does not answer/,
      /busy/,
    ],
    [
      'it fails',
      () => answering(13, 'Shard lost.', true),
      'temporal-refused',
      /refused: shard lost/,
      /log/,
    ],
  ] satisfies Case[])('%s, a client reports it', async (_, address, code, message, hint) => {
    const failure = await asClient(configOf(await address(), 'nope'))
    expect(failure).toMatchObject({ code, message: expect.stringMatching(message) as string })
    expect(failure.hint).toMatch(hint)
  })

  test('a file of its TLS configuration is missing, that file is named', async () => {
    process.env['TEMPORAL_TLS_CLIENT_CERT_PATH'] = join(folder, 'none.pem')
    process.env['TEMPORAL_TLS_CLIENT_KEY_PATH'] = join(folder, 'none.pem')
    const failure = await asClient(configOf(at.tls))
    expect(failure).toMatchObject({ code: 'config-invalid' })
    expect(failure.message).toMatch(/none\.pem/)
  })

  test.each([0, 20, 400])(
    'a call pauses before its next attempt, ends that call, and throws nothing after its connection is closed: event loop held for %d ms',
    async (heldMs) => {
      const asked = { times: 0 }
      const config = configOf(await answering(14, 'Away.', true, asked))
      const left = await withTemporal(config, async ({ client }) => {
        const call = client.workflow.getHandle('nobody').describe()
        const failed = call.then(
          () => null,
          (error: unknown) => error,
        )
        await waitUntil('it was never asked', () => asked.times > 0, { withinMs: 60_000 })
        holdEventLoop(heldMs)
        return { failed }
      })
      expect(await left.failed).toBeInstanceOf(Error)
    },
  )
})

/** Timers run late meanwhile, as on a busy machine. */
function holdEventLoop(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}
