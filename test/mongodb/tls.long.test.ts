import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Authority, joinFiles } from '../support/certificates.ts'
import { hasTools } from '../support/tools.ts'
import { openFleet, type Fleet } from '../support/fleet.ts'
import { freshName } from '../support/fresh.ts'
import { startGuardedMongod, type GuardedMongod } from '../support/guarded-mongod.ts'
import { pausedRotation } from '../support/paused-rotation.ts'

/** A mongod that wants TLS and logs its clients in by their certificates. */
const folder = mkdtempSync(join(tmpdir(), 'keyturn-tls-'))
const file = (name: string) => join(folder, name)
/** What the server presents and trusts, and what the clients do; replaced during the test. */
const paths = {
  server: file('server.pem'),
  trusted: file('trusted.pem'),
  client: file('client.pem'),
}
const subject = 'CN=keyturn,O=keyturn'

describe.skipIf(!hasTools('openssl'))('MongoDB with client certificates', () => {
  let old: Authority
  let next: Authority
  let foreign: Authority
  let mongod: GuardedMongod
  let fleet: Fleet

  /** `options`: instead of the fleet's own; an empty one leaves it out. */
  function address(options: Record<string, string> = {}): string {
    const own = { tls: 'true', tlsCAFile: paths.trusted, tlsCertificateKeyFile: paths.client }
    const login = { authMechanism: 'MONGODB-X509', authSource: '$external' }
    const all = Object.entries({ ...own, ...login, ...options })
    return mongod.address(null, Object.fromEntries(all.filter(([, value]) => value !== '')))
  }

  beforeAll(async () => {
    ;[old, next, foreign] = [
      new Authority(folder, 'old'),
      new Authority(folder, 'next'),
      new Authority(folder, 'foreign'),
    ]
    copyFileSync(old.issue('server').both, paths.server)
    copyFileSync(old.issue('keyturn').both, paths.client)
    joinFiles(paths.trusted, old.cert, next.cert)
    const admin = {
      tls: 'true',
      tlsCAFile: file('both.pem'),
      tlsCertificateKeyFile: next.issue('admin').both,
    }
    copyFileSync(paths.trusted, admin.tlsCAFile)
    const files = ['--tlsCertificateKeyFile', paths.server, '--tlsCAFile', paths.trusted]
    mongod = await startGuardedMongod({
      args: ['--tlsMode', 'requireTLS', ...files],
      options: admin,
    })
    const install = freshName('tls')
    const roles = ['readWrite', 'dbAdmin'].map((role) => ({ role, db: install }))
    await mongod.admin('$external', { createUser: subject, roles })
    const config = { mongodb: { uri: address() } }
    fleet = await openFleet({ provider: 'env', install, mongoUri: mongod.adminAddress, config })
    await fleet.fill(60)
  })
  afterAll(async () => {
    await fleet.close()
    await mongod.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  async function failing(options: Record<string, string>) {
    const uri = address(options)
    const config = await fleet.writeConfig('failing', { mongodb: { uri } })
    const { code, stderr, json } = await fleet.cli('status', '--config', config)
    expect({ code, stderr }).toMatchObject({ code: 4 })
    expect(stderr).not.toMatch(/\n {4}at |fault of keyturn/)
    return json.error
  }

  const cases: [string, () => Record<string, string>, string, RegExp, RegExp][] = [
    [
      'the CA of the server is not known',
      () => ({ tlsCAFile: foreign.cert }),
      'mongodb-unreachable',
      /self-signed certificate|unable to (get|verify)/,
      /tlsCAFile/,
    ],
    [
      'there is no client certificate',
      () => ({ tlsCertificateKeyFile: '' }),
      'mongodb-unreachable',
      /closed|reset/i,
      /client certificate.*tlsCertificateKeyFile/,
    ],
    [
      'the client certificate has expired',
      () => ({ tlsCertificateKeyFile: old.issue('late', -1).both }),
      'mongodb-unreachable',
      /tlsCertificateKeyFile=.*late\.pem" expired at 20\d\d-/,
      /replace the client certificate/,
    ],
    [
      'the server does not know the CA of the client',
      () => ({ tlsCertificateKeyFile: foreign.issue('keyturn').both }),
      'mongodb-unreachable',
      /closed|reset/i,
      /accept the CA of tlsCertificateKeyFile/,
    ],
    [
      'no user has the name of the certificate',
      () => ({ tlsCertificateKeyFile: old.issue('stranger').both }),
      'mongodb-refused',
      /could not find user "CN=stranger,O=stranger"/,
      /check user/,
    ],
  ]

  test.each(cases)('a command is refused when %s', async (_, options, code, message, hint) => {
    const error = await failing(options())
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) as string })
    expect(error.hint).toMatch(hint)
  })

  test('a rotation continues while all certificates and their CA are replaced', async () => {
    const { to, rotation } = await pausedRotation(fleet)
    const outdated = file('outdated.pem')
    copyFileSync(paths.client, outdated)

    // First the server: both sides trust both CAs, and the workers connect again by themselves.
    copyFileSync(next.issue('server').both, paths.server)
    await mongod.admin('admin', { rotateCertificates: 1 })
    await mongod.restart()
    expect((await fleet.must('status')).rotation).toMatchObject({ phase: 'rewrap' })
    // Then the clients: a process reads its files when it starts.
    copyFileSync(next.issue('keyturn').both, paths.client)
    for (const node of ['vm-a', 'vm-b']) {
      await fleet.nodes.stop(node)
      await fleet.nodes.start(node)
    }
    // The command that started it has the old certificate.
    rotation.signal('SIGKILL')
    // Nobody trusts the old CA any more, and no connection is left from before.
    copyFileSync(next.cert, paths.trusted)
    await mongod.restart()
    expect((await failing({ tlsCertificateKeyFile: outdated })).hint).toMatch(/accept the CA/)

    await fleet.must('rate', '0')
    const attached = fleet.start('rotate', '--to-version', `${to}`)
    await fleet.until('the rotation is not followed', () =>
      Promise.resolve(attached.stderr() !== ''),
    )
    await fleet.must('resume')
    expect((await attached.end()).json).toMatchObject({ outcome: 'completed' })
    expect(await fleet.verifyRecords()).toEqual({ [to]: 60 })
  })
})
