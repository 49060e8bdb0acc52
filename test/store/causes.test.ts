import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { KeyturnError } from '../../contracts/errors.ts'
import { openStore } from '../../store/store.ts'

const uri = inject('mongoUri')
const host = new URL(uri).host
const folder = mkdtempSync(join(tmpdir(), 'keyturn-causes-'))
const file = (name: string) => join(folder, name)
const servers: Server[] = []
const ports = { tls: 0, http: 0, silent: 0 }

async function listen(server: Server): Promise<number> {
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

/** Fails as openStore does; a store that opens is closed, and the test fails. */
async function failure(address: string): Promise<KeyturnError> {
  try {
    const store = await openStore({ uri: address, database: 'causes' })
    await store.close()
  } catch (error) {
    expect(error).toBeInstanceOf(KeyturnError)
    return error as KeyturnError
  }
  throw new Error('it opened')
}

beforeAll(async () => {
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost'],
      ...['-keyout', file('key.pem'), '-out', file('cert.pem')],
    ],
    { stdio: 'ignore' },
  )
  writeFileSync(file('garbage.pem'), 'this is no certificate\n')
  const [key, cert] = [readFileSync(file('key.pem')), readFileSync(file('cert.pem'))]
  const tls = createTlsServer({ key, cert }, (socket) => socket.on('error', () => undefined).end())
  tls.on('tlsClientError', () => undefined)
  ports.tls = await listen(tls)
  ports.silent = await listen(createServer((socket) => socket.on('error', () => undefined)))
  ports.http = await listen(
    createServer((socket) => {
      socket.on('error', () => undefined)
      socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
    }),
  )
})

afterAll(() => {
  for (const server of servers) server.close()
  rmSync(folder, { recursive: true, force: true })
})

type Case = readonly [string, () => string, string, RegExp, RegExp]

const cases: Case[] = [
  [
    'an SRV name that is not there',
    () => 'mongodb+srv://nosuch.invalid/',
    'mongodb-unreachable',
    /querySrv E\w+ _mongodb\._tcp\.nosuch\.invalid/,
    /SRV record/,
  ],
  [
    'an SRV name with a port',
    () => 'mongodb+srv://nosuch.invalid:27017/',
    'config-invalid',
    /cannot have port number/,
    /./,
  ],
  [
    'snappy without its package',
    () => `${uri}&compressors=snappy`,
    'config-invalid',
    /needs the package "snappy"/,
    /take snappy out/,
  ],
  [
    'zstd behind zlib',
    () => `${uri}&compressors=zlib,zstd`,
    'config-invalid',
    /"@mongodb-js\/zstd"/,
    /take zstd out/,
  ],
  [
    'an unknown compressor',
    () => `${uri}&compressors=foo`,
    'config-invalid',
    /foo is not a valid compression/,
    /docs/,
  ],
  [
    'a missing tlsCAFile',
    () => `${uri}&tls=true&tlsCAFile=${file('none.pem')}`,
    'config-invalid',
    /tlsCAFile=.*none\.pem" cannot be read: ENOENT/,
    /file/,
  ],
  [
    'a tlsCAFile without tls',
    () => `${uri}&tlsCAFile=${file('cert.pem')}`,
    'config-invalid',
    /tlsCAFile" is there without tls=true/,
    /tls=true/,
  ],
  [
    'a tlsCAFile that is a folder',
    () => `${uri}&tls=true&tlsCAFile=${folder}`,
    'config-invalid',
    /EISDIR/,
    /file/,
  ],
  [
    'a tlsCAFile that is below a file',
    () => `${uri}&tls=true&tlsCAFile=${file('cert.pem')}/x`,
    'config-invalid',
    /ENOTDIR/,
    /file/,
  ],
  [
    'a tlsCAFile of garbage',
    () => `${uri}&tls=true&tlsCAFile=${file('garbage.pem')}`,
    'config-invalid',
    /cannot be used: .*no start line/,
    /PEM/,
  ],
  [
    'a missing tlsCertificateKeyFile',
    () => `${uri}&tls=true&tlsCertificateKeyFile=${file('none.pem')}`,
    'config-invalid',
    /tlsCertificateKeyFile=.*ENOENT/,
    /file/,
  ],
  [
    'a tlsCertificateKeyFile of garbage',
    () => `${uri}&tls=true&tlsCertificateKeyFile=${file('garbage.pem')}`,
    'config-invalid',
    /tlsCertificateKeyFile=.*cannot be used/,
    /private key/,
  ],
  [
    'a tlsCertificateKeyFile without key',
    () => `${uri}&tls=true&tlsCertificateKeyFile=${file('cert.pem')}`,
    'config-invalid',
    /tlsCertificateKeyFile=.*cannot be used/,
    /private key/,
  ],
  [
    'a tlsCRLFile of garbage',
    () => `${uri}&tls=true&tlsCRLFile=${file('garbage.pem')}`,
    'config-invalid',
    /tlsCRLFile=.*cannot be used/,
    /revocation/,
  ],
  [
    'loadBalanced',
    () => `mongodb://${host}/?loadBalanced=true`,
    'config-invalid',
    /"loadBalanced=true" is not supported/,
    /take loadBalanced out/,
  ],
  [
    'directConnection to two',
    () => `mongodb://${host},127.0.0.1:2/?directConnection=true`,
    'config-invalid',
    /requires exactly one host/,
    /./,
  ],
  [
    'another replica set',
    () => `mongodb://${host}/?replicaSet=wrong`,
    'mongodb-unreachable',
    /none of its servers is in the replica set "wrong"/,
    /rs\.status\(\)/,
  ],
  [
    'another replica set, directly',
    () => `mongodb://${host}/?replicaSet=wrong&directConnection=true`,
    'mongodb-unreachable',
    /is not in the replica set "wrong"/,
    /rs\.status\(\)/,
  ],
  [
    'a member that does not answer',
    () => `mongodb://127.0.0.1:${ports.silent}/?replicaSet=keyturn`,
    'mongodb-unreachable',
    /"127\.0\.0\.1:\d+"(: .*timed out| does not answer)/,
    /./,
  ],
  [
    'a login that fails',
    () => `mongodb://app:s3cret-pw@${host}/`,
    'mongodb-refused',
    /refused: authentication failed/,
    /user, password, authSource/,
  ],
  [
    'an unknown mechanism',
    () => `mongodb://app:s3cret-pw@${host}/?authMechanism=FOO`,
    'config-invalid',
    /authMechanism one of .* got FOO/,
    /./,
  ],
  [
    'a mechanism that the server does not have',
    () => `mongodb://app:s3cret-pw@${host}/?authMechanism=PLAIN`,
    'mongodb-refused',
    /mechanism PLAIN which is not enabled/,
    /authMechanism/,
  ],
  [
    'a mechanism whose package is missing',
    () => `mongodb://app:s3cret-pw@${host}/?authMechanism=GSSAPI`,
    'config-invalid',
    /module `kerberos` not found/,
    /install what is missing/,
  ],
  [
    'a login without what it needs',
    () => `mongodb://${host}/?authMechanism=MONGODB-OIDC`,
    'config-invalid',
    /OIDC/,
    /./,
  ],
  [
    'TLS to a plain server',
    () => `${uri}&tls=true`,
    'mongodb-unreachable',
    /before secure TLS connection/,
    /take tls=true out/,
  ],
  [
    'plain to a TLS server',
    () => `mongodb://127.0.0.1:${ports.tls}/`,
    'mongodb-unreachable',
    /closed/,
    /add tls=true/,
  ],
  [
    'TLS to a server with a certificate of its own',
    () => `mongodb://127.0.0.1:${ports.tls}/?tls=true`,
    'mongodb-unreachable',
    /certificate/,
    /tlsCAFile/,
  ],
  [
    'a server that is no MongoDB',
    () => `mongodb://127.0.0.1:${ports.http}/`,
    'mongodb-unreachable',
    /127\.0\.0\.1/,
    /MongoDB/,
  ],
  ['no host', () => 'mongodb://', 'config-invalid', /must begin with/, /mongodb:\/\/host/],
  [
    'a login without a host',
    () => 'mongodb://app:s3cret-pw@',
    'config-invalid',
    /names no host/,
    /mongodb:\/\/host/,
  ],
  [
    'an unknown option',
    () => `${uri}&fooBar=1`,
    'config-invalid',
    /"fooBar" is not known/,
    /configuration\.md/,
  ],
  [
    'an option of the driver that only code may set',
    () => `${uri}&serverApi=1`,
    'config-invalid',
    /"serverApi" is not known/,
    /configuration\.md/,
  ],
  ['an option twice', () => `${uri}&replicaSet=x`, 'config-invalid', /more than once/, /./],
  [
    'an option that is no number',
    () => `${uri}&maxPoolSize=abc`,
    'config-invalid',
    /maxPoolSize/,
    /./,
  ],
  [
    'a port that is too high',
    () => 'mongodb://127.0.0.1:99999/',
    'config-invalid',
    /not a number from 1 to 65535/,
    /./,
  ],
  ...['[::1', '::1]', '[[::1]]', '[]', 'a]:1', '[::1]:27017,[::2'].map((host): Case => [
    `brackets that do not fit: ${host}`,
    () => `mongodb://${host}/`,
    'config-invalid',
    /brackets of a host do not fit/,
    /\[::1\]/,
  ]),
  [
    'an IPv6 address without brackets',
    () => 'mongodb://::1/',
    'config-invalid',
    /more than one ":"/,
    /\[::1\]/,
  ],
  ...['77', '10', '-2', 'best', ''].map((level): Case => [
    `zlibCompressionLevel=${level}`,
    () => `${uri}&compressors=zlib&zlibCompressionLevel=${level}`,
    'config-invalid',
    /is not a level of zlib/,
    /0 to 9/,
  ]),
  ['port 0', () => 'mongodb://127.0.0.1:0/', 'config-invalid', /not a number from 1 to 65535/, /./],
  [
    'a name that is not there',
    () => 'mongodb://nosuch.invalid/',
    'mongodb-unreachable',
    /getaddrinfo E\w+ nosuch\.invalid/,
    /DNS/,
  ],
  [
    'a port without a server',
    () => 'mongodb://127.0.0.1:1/',
    'mongodb-unreachable',
    /"127\.0\.0\.1:1": connect ECONNREFUSED/,
    /running/,
  ],
  [
    'two servers that are not there',
    () => 'mongodb://127.0.0.1:1,nosuch.invalid/?replicaSet=rs',
    'mongodb-unreachable',
    /ECONNREFUSED.*; "nosuch\.invalid:27017": getaddrinfo/,
    /DNS/,
  ],
  [
    'a socket that is not there',
    () => 'mongodb://%2Ftmp%2Fkeyturn-none.sock/',
    'mongodb-unreachable',
    /ENOENT/,
    /running/,
  ],
]

describe.concurrent('an address of MongoDB', () => {
  test.each(cases)(
    'with %s fails with its cause and a hint',
    async (_, address, code, message, hint) => {
      const error = await failure(address())
      expect(error).toMatchObject({ code, message: expect.stringMatching(message) as string })
      expect(error.hint).toMatch(hint)
      expect(error.message).not.toMatch(/\n|\.$|^[A-Z]/)
      expect(error.message + (error.hint ?? '')).not.toContain('s3cret-pw')
    },
  )

  test.each([
    'mongodb://app:s3c@ret/pw@db.invalid/',
    'mongodb://app:s3c@ret:9pw@db.invalid/app?w=1',
    'mongodb://app:s3c@ret?pw@db.invalid/',
    'mongodb://app:s3c/ret-pw@db.invalid/',
    'mongodb://app:s3c?ret-pw@db.invalid/',
    'mongodb://app:s3c#ret-pw@db.invalid/',
    'mongodb://app:s3c:ret-pw@db.invalid/',
    'mongodb://app:s3c%ret-pw@db.invalid/',
    'mongodb://s3c/ret-pw:x@db.invalid/',
    'mongodb+srv://app:s3c@ret/pw@db.invalid/',
    'mongodb://app:s3c-ret-pw',
    'mongodb://app:s3c-ret-pw/app',
  ])(
    'whose login is not percent-encoded (%s) is never shown, not even in part',
    async (address) => {
      const error = await failure(address)
      expect(error).toMatchObject({ code: 'config-invalid', exitCode: 2 })
      expect(JSON.stringify(error)).not.toMatch(/s3c|ret/)
    },
  )
})
