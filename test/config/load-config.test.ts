import { approverKey } from '../support/approvers.ts'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { loadConfig, loadPkcs11Config } from '../../config/load-config.ts'
import { fault, freshFolder, least, load } from './files.ts'

const pkcs11 = `kek:
  provider: pkcs11
  pkcs11:
    module_path: /usr/lib/softhsm/libsofthsm2.so
    token_label: payments
`
const withPkcs11 = least.replace('kek: { provider: env }\n', pkcs11)

describe('a configuration', () => {
  test('with only the required keys gets every default', () => {
    expect(load(least)).toEqual({
      file: expect.stringMatching(/keyturn\.yaml$/) as string,
      install: 'payments',
      mongodb: { uri: 'mongodb://127.0.0.1:27017', database: 'app' },
      temporal: {},
      kek: { provider: 'env', env: { variablePrefix: 'KEYTURN_ENCRYPTION_ENV_KEK_V' } },
      collections: [{ name: 'certificates', envelopes: ['private_key'] }],
      fleet: { heartbeatMs: 30_000, leaseMs: 90_000, expireMs: 120_000, proveMs: 21_600_000 },
      rewrap: { page: 1000, shards: 'auto', check: 'all', maxRate: 0 },
      removal: {
        backupWindowMs: 30 * 86_400_000,
        undoWindowMs: 86_400_000,
      },
      approvals: {
        approvers: [],
        remove: 0,
        rotate: 0,
        settings: 0,
        store: 0,
        expiresMs: 259_200_000,
      },
      worker: { listen: '127.0.0.1:9464', shutdownGraceMs: 10_000 },
      log: { level: 'info', pretty: 'auto' },
      audit: {},
    })
    expect(load(withPkcs11).kek.pkcs11).toEqual({
      modulePath: '/usr/lib/softhsm/libsofthsm2.so',
      token: { label: 'payments' },
      pinEnv: 'KEYTURN_ENCRYPTION_PKCS11_PIN',
      keyLabelPrefix: 'keyturn-kek',
      maxSessions: 30,
      useGcmIvFromHsm: 'auto',
    })
  })

  test('reads every key of the file', () => {
    const config = load(`install: payments
mongodb: { uri: "mongodb://u:p@h/", database: app }
temporal: { address: "127.0.0.1:7233", namespace: default }
kek:
  provider: pkcs11
  env: { variable_prefix: KEK_V }
  pkcs11:
    module_path: libsofthsm2.so
    module_parameters: 'configDir="sql:/db"'
    slot: 0
    pin_file: /run/keyturn/pin
    pin: "0012"
    pin_env: PIN
    key_label_prefix: k
    max_sessions: 1
    use_gcm_iv_from_hsm: false
collections:
  - { name: certificates, envelopes: [private_key] }
  - { name: dns_accounts, envelopes: [secrets.api_token, secrets.webhook] }
fleet: { heartbeat: 2s, lease: 6s, expire: 10s, prove: 1h }
rewrap: { page: 5000, shards: 4, check: sampled, max_rate: 2000 }
removal: { backup_window: 0s, undo_window: 1w }
approvals: { rotate: 1, expires: 1h, approvers: [{ name: a, key: "${approverKey('a').ssh}" }] }
worker: { listen: "[::1]:0", shutdown_grace: 500ms }
log: { level: debug, pretty: true }
audit: { signing_key: /etc/keyturn/audit.pem, anchor_file: /var/log/heads, anchor_url: "https://h/" }
`)
    expect(config.temporal).toEqual({ address: '127.0.0.1:7233', namespace: 'default' })
    expect(config.kek).toEqual({
      provider: 'pkcs11',
      env: { variablePrefix: 'KEK_V' },
      pkcs11: {
        modulePath: 'libsofthsm2.so',
        moduleParameters: 'configDir="sql:/db"',
        token: { slot: 0 },
        pinFile: '/run/keyturn/pin',
        pin: '0012',
        pinEnv: 'PIN',
        keyLabelPrefix: 'k',
        maxSessions: 1,
        useGcmIvFromHsm: false,
      },
    })
    expect(config.collections[1]?.envelopes).toEqual(['secrets.api_token', 'secrets.webhook'])
    expect(config.fleet).toEqual({
      heartbeatMs: 2000,
      leaseMs: 6000,
      expireMs: 10_000,
      proveMs: 3_600_000,
    })
    expect(config.rewrap).toEqual({ page: 5000, shards: 4, check: 'sampled', maxRate: 2000 })
    expect(config.removal).toEqual({
      backupWindowMs: 0,
      undoWindowMs: 604_800_000,
    })
    expect(config.approvals).toEqual({
      approvers: [{ name: 'a', key: approverKey('a').raw }],
      remove: 0,
      rotate: 1,
      settings: 1,
      store: 0,
      expiresMs: 3_600_000,
    })
    expect(config.worker).toEqual({ listen: '[::1]:0', shutdownGraceMs: 500 })
    expect(config.log).toEqual({ level: 'debug', pretty: true })
    expect(config.audit).toEqual({
      signingKey: '/etc/keyturn/audit.pem',
      anchorFile: '/var/log/heads',
      anchorUrl: 'https://h/',
    })
  })

  test('is deeply frozen', () => {
    const config = load(withPkcs11)
    expect(() => Object.assign(config.fleet, { leaseMs: 1 })).toThrow(TypeError)
    expect(() => (config.collections[0]?.envelopes as string[]).push('x')).toThrow(TypeError)
    expect(Object.isFrozen(config.kek.pkcs11?.token)).toBe(true)
  })

  test('treats a section whose lines are all commented out as absent', () => {
    expect(load(`${least}fleet:\n#  lease: 60s\nlog:\n`).fleet.leaseMs).toBe(90_000)
  })

  test('with the provider env checks the pkcs11 section and drops it', () => {
    const both = withPkcs11.replace('provider: pkcs11', 'provider: env')
    expect(load(both).kek).not.toHaveProperty('pkcs11')
    expect(fault(() => load(both.replace('token_label', 'tokn_label')))).toContain('tokn_label')
  })

  test('resolves a relative pin_file from the folder of keyturn.yaml', () => {
    const config = load(withPkcs11.replace('token_label', 'pin_file: secrets/pin\n    token_label'))
    expect(config.kek.pkcs11?.pinFile).toBe(path.join(path.dirname(config.file), 'secrets/pin'))
  })
})

describe('the address of MongoDB', () => {
  const KEYTURN_MONGODB_URI = 'mongodb+srv://user:hunter2@cluster.example.org'

  test('comes from the variable rather than the file', () => {
    expect(load(least, { KEYTURN_MONGODB_URI }).mongodb.uri).toBe(KEYTURN_MONGODB_URI)
    const without = least.replace('uri: "mongodb://127.0.0.1:27017", ', '')
    expect(load(without, { KEYTURN_MONGODB_URI }).mongodb.uri).toBe(KEYTURN_MONGODB_URI)
    expect(load(least, { KEYTURN_MONGODB_URI: '' }).mongodb.uri).toBe('mongodb://127.0.0.1:27017')
    expect(fault(() => load(without))).toBe(
      'variable-missing: no address of MongoDB: "KEYTURN_MONGODB_URI" is not set, and "keyturn.yaml" has no "mongodb.uri" | set KEYTURN_MONGODB_URI, or mongodb.uri in the file',
    )
  })

  test('is never shown', () => {
    const inFile = least.replace('mongodb://127.0.0.1:27017', 'mongo://u:hunter2@h')
    expect(fault(() => load(inFile))).toBe(
      `config-invalid: keyturn.yaml:2:12: "mongodb.uri" must begin with mongodb:// or mongodb+srv:// | write for example: mongodb: { uri: "mongodb://127.0.0.1:27017/?replicaSet=rs0", database: app }`,
    )
    const found = fault(() => load(least, { KEYTURN_MONGODB_URI: 'hunter2' }))
    expect(found).toMatch(/^config-invalid: variable "KEYTURN_MONGODB_URI" must begin/)
    expect(found).not.toContain('hunter2')
  })
})

describe('the file', () => {
  function files(...names: string[]): string {
    const folder = freshFolder()
    for (const name of names) {
      mkdirSync(path.dirname(path.join(folder, name)), { recursive: true })
      const install = name.replaceAll(/[^a-z]/g, '-')
      writeFileSync(path.join(folder, name), least.replace('payments', install))
    }
    return folder
  }

  test('is that of --config, else of KEYTURN_CONFIG, else ./keyturn.yaml', () => {
    const cwd = files('keyturn.yaml', 'variable.yaml', 'sub/named.yaml')
    const env = { KEYTURN_CONFIG: 'variable.yaml' }
    const installOf = (options: object) => loadConfig({ cwd, env: {}, ...options }).install
    expect(installOf({ env, file: 'sub/named.yaml' })).toBe('sub-named-yaml')
    expect(installOf({ env, file: path.join(cwd, 'sub/named.yaml') })).toBe('sub-named-yaml')
    expect(installOf({ env })).toBe('variable-yaml')
    expect(installOf({})).toBe('keyturn-yaml')
    expect(installOf({ env: { KEYTURN_CONFIG: '' } })).toBe('keyturn-yaml')
  })

  test('of --config or KEYTURN_CONFIG must exist', () => {
    const cwd = files('keyturn.yaml')
    expect(fault(() => loadConfig({ cwd, env: {}, file: 'other.yaml' }))).toMatch(
      /^config-missing: there is no configuration file "other.yaml" \| set --config FILE/,
    )
    expect(fault(() => loadConfig({ cwd, env: { KEYTURN_CONFIG: 'x.yaml' } }))).toContain(
      'config-missing: there is no configuration file "x.yaml"',
    )
    expect(fault(() => loadConfig({ cwd, env: {}, file: '.' }))).toContain('EISDIR')
  })

  test('that is missing is reported with the places that were searched', () => {
    expect(fault(() => loadConfig({ cwd: freshFolder(), env: {} }))).toMatch(
      /^config-missing: no configuration file: neither ".\/keyturn.yaml" nor "\/etc\/keyturn\/keyturn.yaml" exists \|/,
    )
  })
})

describe('for --probe-only', () => {
  function probe(text: string) {
    const cwd = freshFolder()
    writeFileSync(path.join(cwd, 'keyturn.yaml'), text)
    return loadPkcs11Config({ cwd, env: {} })
  }

  test('the file needs nothing but kek.pkcs11', () => {
    const onlyPkcs11 = pkcs11.replace('  provider: pkcs11\n', '')
    expect(probe(onlyPkcs11)).toMatchObject({
      install: null,
      pkcs11: { token: { label: 'payments' }, maxSessions: 30 },
    })
    expect(probe(withPkcs11).install).toBe('payments')
  })

  test('that section is still checked', () => {
    expect(fault(() => probe('kek: { provider: env }'))).toBe(
      'config-invalid: keyturn.yaml:1:1: "kek.pkcs11" is missing | write for example: pkcs11: { module_path: /usr/lib/softhsm/libsofthsm2.so, token_label: payments }',
    )
    expect(fault(() => probe(pkcs11.replace('module_path', 'modul_path')))).toMatch(
      /^config-unknown-key: keyturn.yaml:4:5: unknown key "kek.pkcs11.modul_path" \| allowed keys: module_path, module_parameters, slot, /,
    )
  })
})
