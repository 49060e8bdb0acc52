import { initToken } from '../providers/fixture.ts'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { makeToken, type TestToken } from '../support/softhsm.ts'
import { freshName } from '../support/fresh.ts'
import { processes, type TestProcess } from '../support/processes.ts'
import { waitUntil } from '../../devstack/wait-until.ts'
import { workbench } from './workbench.ts'

const running = processes()

describe.skipIf(inject('softhsm') === null)('a worker whose token is not usable', () => {
  let token: TestToken
  beforeAll(async () => {
    token = await makeToken()
  })
  afterAll(() => token.remove())

  const benchOf = async (label: string) => {
    const env = { SOFTHSM2_CONF: token.conf }
    const bench = await workbench(running, env)
    const pinFile = await bench.write('pin', token.pin, 0o400)
    const config = (pin_file: string) =>
      bench.config({
        kek: {
          provider: 'pkcs11',
          pkcs11: { module_path: token.modulePath, token_label: label, pin_file },
        },
        fleet: { heartbeat: '500ms', lease: '5s', expire: '10s' },
        worker: { listen: '127.0.0.1:0' },
      })
    const file = await config(pinFile)
    expect(await bench.keyturn('setup')).toMatchObject({ code: 0 })
    return { bench, file, pinFile, env, config }
  }
  const readyz = async (worker: TestProcess): Promise<[number, string]> => {
    const up = await worker.line('worker is up')
    const [, address] = /"listen":"([^"]+)"/.exec(up) ?? []
    const response = await fetch(`http://${address ?? ''}/readyz`)
    return [response.status, (await response.text()).trim()]
  }
  const isReady = (worker: TestProcess) =>
    waitUntil(
      'the worker is not ready',
      async () => ((await readyz(worker))[0] === 200 ? true : null),
      {
        withinMs: 60_000,
        everyMs: 100,
      },
    )

  test('reports it on /readyz with nothing installed, and reads a new PIN on SIGHUP', async () => {
    const { bench, file, env } = await benchOf(token.label)
    await bench.write('pin', '00000000', 0o600)
    const worker = running.worker('vm-a', file, { cwd: bench.folder, env })
    const [status, text] = await readyz(worker)
    expect([status, text]).toEqual([503, 'pin-refused: C_Login answered CKR_PIN_INCORRECT (160)'])
    expect(await worker.line('worker is up')).toContain('"degraded":"pin-refused"')
    await bench.write('pin', token.pin, 0o600)
    process.kill(worker.pid, 'SIGHUP')
    await isReady(worker)
    expect(await bench.keyturn('pkcs11-init', '--version', '1')).toMatchObject({ code: 0 })
    expect(worker.stderr() + worker.stdout()).not.toContain('00000000')
  })

  test('leaves the first installation to a healthy worker', async () => {
    const { bench, file, pinFile, env, config } = await benchOf(token.label)
    const wrong = await bench.write('wrong', '11111111', 0o400)
    await config(wrong)
    const degraded = running.worker('vm-a', file, { cwd: bench.folder, env })
    expect((await readyz(degraded))[0]).toBe(503)
    await config(pinFile)
    const healthy = running.worker('vm-b', file, { cwd: bench.folder, env })
    await isReady(healthy)
    const made = await bench.keyturn('pkcs11-init', '--version', '2', '--json')
    expect(made).toMatchObject({ code: 0, json: { created: true, madeBy: 'vm-b' } })
  })

  test('finds a token that is created after its start', async () => {
    const label = freshName('late')
    const { bench, file, env } = await benchOf(label)
    const worker = running.worker('vm-a', file, { cwd: bench.folder, env })
    expect(await readyz(worker)).toEqual([503, `token-not-found: no token with label "${label}"`])
    const refused = await bench.keyturn('pkcs11-init', '--version', '3', '--json')
    expect(refused).toMatchObject({ code: 4, json: { error: { code: 'token-not-found' } } })
    process.env['SOFTHSM2_CONF'] = token.conf
    await initToken(token, label)
    await isReady(worker)
    expect(await bench.keyturn('pkcs11-init', '--version', '3')).toMatchObject({ code: 0 })
  })
})
