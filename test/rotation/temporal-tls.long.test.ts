import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { Authority, joinFiles } from '../support/certificates.ts'
import { hasTools } from '../support/tools.ts'
import { openFleet, type Fleet } from '../support/fleet.ts'
import { pausedRotation } from '../support/paused-rotation.ts'
import { processes } from '../support/processes.ts'
import { openTlsProxy, type TlsProxy } from '../support/tls-proxy.ts'

/** Temporal behind TLS with client certificates. Its dev server has no TLS, so a proxy of the test ends it. */
const folder = mkdtempSync(join(tmpdir(), 'keyturn-temporal-tls-'))
const file = (name: string) => join(folder, name)
const paths = { cert: file('client.crt'), key: file('client.key'), trusted: file('trusted.pem') }

function variables(cert: string | null, key: string | null, ca = paths.trusted): NodeJS.ProcessEnv {
  return {
    TEMPORAL_TLS: 'true',
    TEMPORAL_TLS_SERVER_CA_CERT_PATH: ca,
    TEMPORAL_TLS_CLIENT_CERT_PATH: cert ?? '',
    TEMPORAL_TLS_CLIENT_KEY_PATH: key ?? '',
  }
}

describe.skipIf(!hasTools('openssl'))('Temporal with client certificates', () => {
  const children = processes()
  const old = new Authority(folder, 'old')
  const next = new Authority(folder, 'next')
  const foreign = new Authority(folder, 'foreign')
  let proxy: TlsProxy
  let fleet: Fleet

  beforeAll(async () => {
    joinFiles(paths.trusted, old.cert, next.cert)
    present(old)
    const server = old.issue('server')
    proxy = await openTlsProxy(inject('temporalAddress'), server, [old.cert, next.cert])
    fleet = await openFleet({
      provider: 'env',
      env: variables(paths.cert, paths.key),
      config: { temporal: { address: proxy.address } },
    })
    await fleet.fill(60)
  })
  afterAll(async () => {
    await fleet.close()
    await proxy.close()
    rmSync(folder, { recursive: true, force: true })
  })

  /** Gives the clients a certificate of this CA; a process reads it when it starts. */
  function present(authority: Authority): void {
    const { cert, key } = authority.issue('keyturn')
    copyFileSync(cert, paths.cert)
    copyFileSync(key, paths.key)
  }

  const cases: [string, () => NodeJS.ProcessEnv, RegExp, RegExp][] = [
    [
      'there is no client certificate',
      () => variables(null, null),
      /may want a client certificate/,
      /TEMPORAL_TLS_CLIENT_CERT_PATH/,
    ],
    [
      'its CA is not known',
      () => {
        const { cert, key } = foreign.issue('keyturn')
        return variables(cert, key)
      },
      /may not accept the client certificate/,
      /TEMPORAL_TLS_CLIENT_CERT_PATH/,
    ],
    [
      'it has expired',
      () => {
        const { cert, key } = old.issue('late', -1)
        return variables(cert, key)
      },
      /the client certificate expired at 20\d\d-/,
      /TEMPORAL_TLS_CLIENT_CERT_PATH/,
    ],
    [
      "the CA of the server's certificate is not known",
      () => variables(paths.cert, paths.key, foreign.cert),
      /certificate/i,
      /TEMPORAL_TLS_SERVER_CA_CERT_PATH/,
    ],
  ]

  describe.each(['command', 'worker'])('a %s is refused by name', (kind) => {
    test.each(cases)('when %s', async (_, env, message, hint) => {
      const options = { env: { ...fleet.env, ...env() } }
      const process =
        kind === 'command'
          ? children.cli(['setup', '--yes', '--config', fleet.config], options)
          : children.cli(['worker', '--ephemeral', '--config', fleet.config], options)
      const { code, stdout, stderr } = await process.exit()
      console.log(
        kind,
        code,
        (stdout + stderr).split('\n').filter((l) => /temporal/i.test(l)),
      )
      expect(code).toBe(4)
      const text = stdout + stderr
      expect(text).toMatch(message)
      expect(text).toMatch(hint)
      expect(text).not.toMatch(/\n {4}at |fault of keyturn/)
    })
  })

  test('a rotation continues while all certificates and their CA are replaced', async () => {
    const { to, rotation } = await pausedRotation(fleet)
    const outdated = { cert: file('outdated.crt'), key: file('outdated.key') }
    copyFileSync(paths.cert, outdated.cert)
    copyFileSync(paths.key, outdated.key)

    // First the server: both sides trust both CAs, and the workers connect again by themselves.
    const server = next.issue('server')
    proxy.replace(server, [old.cert, next.cert])
    await fleet.until('the workers do not connect again', () =>
      Promise.resolve(proxy.connections() > 0),
    )
    expect((await fleet.must('status')).rotation).toMatchObject({ phase: 'rewrap' })
    await fleet.must('rate', '0')
    // Then the clients: a process reads its files when it starts.
    present(next)
    for (const node of ['vm-a', 'vm-b']) {
      await fleet.nodes.stop(node)
      await fleet.nodes.start(node)
    }
    // The command that started it has the old certificate.
    rotation.signal('SIGKILL')
    // Nobody trusts the old CA any more, and no connection is left from before.
    copyFileSync(next.cert, paths.trusted)
    proxy.replace(server, [next.cert])
    const late = { env: { ...fleet.env, ...variables(outdated.cert, outdated.key) } }
    expect(
      (await children.cli(['setup', '--yes', '--config', fleet.config], late).exit()).code,
    ).toBe(4)
    const attached = fleet.start('rotate', '--to-version', `${to}`)
    await fleet.until('the rotation is not followed', () =>
      Promise.resolve(attached.stderr() !== ''),
    )
    await fleet.must('resume')
    expect((await attached.end()).json).toMatchObject({ outcome: 'completed' })
    expect(await fleet.verifyRecords()).toEqual({ [to]: 60 })
  })
})
