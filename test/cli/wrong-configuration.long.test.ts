import { describe, expect, inject, test } from 'vitest'
import { processes } from '../support/processes.ts'
import { makeToken } from '../support/softhsm.ts'
import { workbench, type Workbench } from './workbench.ts'

const dead = '127.0.0.1:1'

/** `code` and the first two lines of stderr. */
async function said(bench: Workbench, ...args: string[]) {
  const { code, stderr, stdout } = await bench.keyturn(...args)
  expect(stderr + stdout).not.toMatch(/^ {4}at /m)
  const [error = '', hint = ''] = stderr.split('\n').slice(-3)
  return { code, error, hint }
}

describe('a wrong configuration', () => {
  const running = processes()

  test('a missing file is named', async () => {
    const bench = await workbench(running, { KEYTURN_CONFIG: '' })
    const { code, error } = await said(bench, 'status', '--config', 'absent.yaml')
    expect(code).toBe(2)
    expect(error).toMatch(/^error: .*absent\.yaml/)
  })

  test('an unknown key is named with its line and column', async () => {
    const bench = await workbench(running)
    await bench.config({ instal: 'payments' })
    const { code, error, hint } = await said(bench, 'status')
    expect(code).toBe(2)
    expect(error).toMatch(/^error: .*"instal"/)
    expect(error).toMatch(/keyturn\.yaml:\d+:\d+/)
    expect(hint).toMatch(/^hint: /)
  })

  test('a missing MongoDB address is reported with its variable', async () => {
    const bench = await workbench(running, { KEYTURN_MONGODB_URI: '' })
    await bench.config({ mongodb: { database: 'app' } })
    const { code, error } = await said(bench, 'status')
    expect(code).toBe(2)
    expect(error).toContain('KEYTURN_MONGODB_URI')
  })

  test('an unreachable MongoDB ends with 4 within seconds, without showing its password', async () => {
    const bench = await workbench(running)
    const uri = `mongodb://app:s3cret-pw@${dead}/?replicaSet=rs0`
    await bench.config({ mongodb: { uri, database: 'app' } })
    const { code, error, hint } = await said(bench, 'status')
    expect(code).toBe(4)
    expect(error).toMatch(/^error: mongodb .*127\.0\.0\.1:1/)
    expect(error + hint).not.toContain('s3cret-pw')
  })

  test('an unreachable Temporal ends commands that need it with 4, and is a warning for status', async () => {
    const bench = await workbench(running)
    await bench.config({ temporal: { address: dead } })
    expect(await said(bench, 'setup')).toMatchObject({
      code: 4,
      error: `error: temporal does not answer at "${dead}": connection refused`,
    })
    const status = await bench.keyturn('status', '--json')
    expect(status).toMatchObject({
      code: 0,
      json: { temporal: 'unreachable', rotation: null, provider: null, active: null },
    })
    expect(status.stderr).toContain('warning: temporal is unreachable')
  })

  test('an env key that is too short ends a worker with 2, without showing it', async () => {
    const bench = await workbench(running, { KEYTURN_ENCRYPTION_ENV_KEK_V1: 'abcdef0123456789' })
    await bench.config()
    const { code, error, hint } = await said(bench, 'worker')
    expect(code).toBe(2)
    expect(error).toContain('KEYTURN_ENCRYPTION_ENV_KEK_V1')
    expect(error + hint).not.toContain('abcdef0123456789')
  })

  test('a PIN file that others can read is refused before the token is touched', async () => {
    const bench = await workbench(running)
    const pinFile = await bench.write('pin', '1234', 0o644)
    await bench.config({ kek: pkcs11Of('/usr/lib/none.so', { pin_file: pinFile }) })
    const { code, error, hint } = await said(bench, 'pkcs11-init', '--probe-only')
    expect(code).toBe(2)
    expect(error).toBe('error: PIN file "pin" has mode "0644", not 0600 or 0400')
    expect(hint).toBe('hint: run: chmod 0400 pin')
  })

  test('an empty PIN variable ends with 2', async () => {
    const bench = await workbench(running, { KEYTURN_ENCRYPTION_PKCS11_PIN: '' })
    await bench.config({ kek: pkcs11Of('/usr/lib/none.so') })
    const { code, error } = await said(bench, 'pkcs11-init', '--probe-only')
    expect(code).toBe(2)
    expect(error).toContain('"KEYTURN_ENCRYPTION_PKCS11_PIN" is empty')
  })

  test('a missing module ends with 4, and its path is named', async () => {
    const bench = await workbench(running, { KEYTURN_ENCRYPTION_PKCS11_PIN: '1234' })
    await bench.config({ kek: pkcs11Of('/usr/lib/none.so') })
    const { code, error } = await said(bench, 'pkcs11-init', '--probe-only')
    expect(code).toBe(4)
    expect(error).toContain('/usr/lib/none.so')
  })
})

describe.skipIf(inject('softhsm') === null)('a real token', () => {
  const running = processes()

  test('a missing token ends with 4, and the present ones are named', async () => {
    const token = await makeToken()
    const bench = await workbench(running, {
      SOFTHSM2_CONF: token.conf,
      KEYTURN_ENCRYPTION_PKCS11_PIN: '1234',
    })
    await bench.config({ kek: pkcs11Of(token.modulePath, { token_label: 'elsewhere' }) })
    const { code, error, hint } = await said(bench, 'pkcs11-init', '--probe-only')
    expect(code).toBe(4)
    expect(error).toContain('elsewhere')
    expect(error + hint).toContain(token.label)
    await token.remove()
  })

  test('the probe needs only kek.pkcs11 in the file, and leaves nothing behind', async () => {
    const token = await makeToken()
    const bench = await workbench(running, { SOFTHSM2_CONF: token.conf })
    const pinFile = await bench.write('pin', token.pin, 0o400)
    await bench.write(
      'keyturn.yaml',
      `kek: { provider: pkcs11, pkcs11: { module_path: ${token.modulePath}, token_label: ${token.label}, pin_file: ${pinFile} } }\n`,
    )
    const { code, json } = await bench.keyturn(
      'pkcs11-init',
      '--version',
      '1',
      '--probe-only',
      '--json',
    )
    expect(code).toBe(0)
    expect(json).toMatchObject({
      token: { label: token.label },
      gcm: { ivMode: 'caller', ivLength: 12, tagBits: 128 },
      usable: true,
      phases: [
        { phase: 'mechanisms', ok: true },
        { phase: 'key-generation', ok: true },
        { phase: 'aead', ok: true },
        { phase: 'clean-up', ok: true },
      ],
    })
    await token.remove()
  })

  test('a wrong PIN ends with 4 and is tried once', async () => {
    const token = await makeToken()
    const bench = await workbench(running, {
      SOFTHSM2_CONF: token.conf,
      KEYTURN_ENCRYPTION_PKCS11_PIN: 'not-the-pin',
    })
    await bench.config({ kek: pkcs11Of(token.modulePath, { token_label: token.label }) })
    const { code, error, hint } = await said(bench, 'pkcs11-init', '--probe-only')
    expect(code).toBe(4)
    expect(error).toMatch(/^error: .*PIN/i)
    expect(error + hint).not.toContain('not-the-pin')
    await token.remove()
  })
})

function pkcs11Of(modulePath: string, more: Record<string, unknown> = {}) {
  return {
    provider: 'pkcs11',
    pkcs11: { module_path: modulePath, token_label: 'payments', ...more },
  }
}
