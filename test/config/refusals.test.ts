import { describe, expect, test } from 'vitest'
import { fault, least, load } from './files.ts'

const found = (text: string) => fault(() => load(text))
const change = (from: string | RegExp, to: string) => {
  const changed = least.replace(from, to)
  if (changed === least) throw new Error(`nothing to change: ${String(from)}`)
  return changed
}
const kekOf = (section: string) =>
  change('kek: { provider: env }', `kek:\n  provider: pkcs11\n  pkcs11: { ${section} }`)

describe('an unknown key', () => {
  test('is reported with file, line and column, and with the keys that are allowed', () => {
    expect(found(`${least}flet: { lease: 90s }\n`)).toBe(
      'config-unknown-key: keyturn.yaml:6:1: unknown key "flet" | allowed keys: install, mongodb, temporal, kek, collections, fleet, rewrap, removal, approvals, worker, audit, log',
    )
    expect(found(`${least}fleet:\n  heartbeat: 30s\n  heart_beat: 30s\n`)).toBe(
      'config-unknown-key: keyturn.yaml:8:3: unknown key "fleet.heart_beat" | allowed keys: heartbeat, lease, expire, prove',
    )
    expect(found(change('envelopes: [private_key]', 'fields: [private_key]'))).toBe(
      'config-unknown-key: keyturn.yaml:5:27: unknown key "collections[0].fields" | allowed keys: name, envelopes',
    )
    expect(found(kekOf('module_path: m, token_label: t, module_args: x'))).toContain(
      'config-unknown-key: keyturn.yaml:5:45: unknown key "kek.pkcs11.module_args"',
    )
  })

  test('is reported before the keys that are missing because of it, and the first one wins', () => {
    expect(found(change('install:', 'instal:'))).toContain('keyturn.yaml:1:1: unknown key "instal"')
    expect(found(`${least}b: 1\na: 2\n`)).toContain('6:1: unknown key "b"')
  })

  test('is reported even when it has no value', () => {
    expect(found(`${least}flet:\n`)).toContain('6:1: unknown key "flet"')
  })
})

describe('a required key', () => {
  test.each([
    ['', '1:1: "install" is missing | write for example: install: payments'],
    ['# nothing\n', '1:1: "install" is missing'],
    [change('install: payments\n', ''), '1:1: "install" is missing'],
    [change('payments', ''), '1:1: "install" is missing'],
    [change(', database: app', ''), '2:1: "mongodb.database" is missing'],
    [change(/mongodb: .*\n/, ''), '1:1: "mongodb" is missing'],
    [change('kek: { provider: env }\n', ''), '1:1: "kek" is missing | write for example: kek:'],
    [change('{ provider: env }', '{}'), '3:1: "kek.provider" is missing'],
    [change(/collections:[^]*/, ''), '1:1: "collections" is missing'],
    [change(/collections:[^]*/, 'collections: []'), '4:1: "collections" must name at least one'],
    [
      change('[private_key]', '[]'),
      '5:27: "collections[0].envelopes" must name at least one field',
    ],
    [change(', envelopes: [private_key]', ''), '5:5: "collections[0].envelopes" is missing'],
    [change('provider: env', 'provider: pkcs11'), '3:1: "kek.pkcs11" is missing'],
    [kekOf('token_label: t'), '5:3: "kek.pkcs11.module_path" is missing'],
    [kekOf('module_path: m'), '5:3: "kek.pkcs11" names no token: one of token_label, token_serial'],
  ])('that is missing is reported: %#', (text, message) => {
    expect(found(text)).toContain(`config-invalid: keyturn.yaml:${message}`)
  })
})

describe('a wrong value', () => {
  test.each([
    ['install: 12', '"install" must be a text, not "12"'],
    ['install: a/b', '"install" must be of letters, digits, ".", "_" and "-"'],
    ['install: a.node.b', '"install" must not have a part named "node"'],
    [
      'fleet: { heartbeat: 30 }',
      '"fleet.heartbeat" must be a duration such as 30s, 24h or 90d, not "30"',
    ],
    [
      'fleet: { lease: 90 s }',
      '"fleet.lease" must be a duration such as 30s, 24h or 90d, not "90 s"',
    ],
    ['fleet: { heartbeat: 0s }', '"fleet.heartbeat" must be from 1ms to 24d, not "0s"'],
    [
      'fleet: { heartbeat: 46s }',
      '"fleet.lease" is 90s: it must be at least two heartbeats of 46s',
    ],
    ['fleet: { lease: 59s }', '"fleet.lease" is 59s: it must be at least two heartbeats of 30s'],
    ['fleet: { lease: 120s }', '"fleet.expire" is 2m: it must be longer than the lease of 2m'],
    ['fleet: { prove: 0s }', '"fleet.prove" must be from 1ms to 24d'],
    ['fleet: { expire: 90s }', '"fleet.expire" is 90s: it must be longer than the lease of 90s'],
    ['temporal: { address: "http://127.0.0.1:7233" }', '"temporal.address" must be host:port'],
    ['temporal: { address: "grpc://t:7233" }', '"temporal.address" must be host:port'],
    ['temporal: { address: "127.0.0.1: 7233" }', '"temporal.address" must be host:port'],
    ['temporal: { address: " t:7233" }', '"temporal.address" must be host:port'],
    ['fleet: [1]', '"fleet" must be a section'],
    ['rewrap: { page: 0 }', '"rewrap.page" must be a number from 1 to 5000, not "0"'],
    ['rewrap: { page: 5001 }', '"rewrap.page" must be a number from 1 to 5000, not "5001"'],
    ['rewrap: { page: 1.5 }', '"rewrap.page" must be a number from 1 to 5000, not "1.5"'],
    ['rewrap: { shards: 0 }', '"rewrap.shards" must be "auto" or a number from 1 to 1000, not "0"'],
    ['rewrap: { check: some }', '"rewrap.check" must be "all", "sampled" or "none", not "some"'],
    ['rewrap: { max_rate: -1 }', '"rewrap.max_rate" must be a number of envelopes a second'],
    ['approvals: { remove: 1 }', 'must be at most the number of approvers (0), not "1"'],
    ['approvals: { approvers: a }', '"approvals.approvers" must be a list, not "a"'],
    ['approvals: { expires: 999ms }', '"approvals.expires" must be from 1s to 365d, not "999ms"'],
    ['approvals: { rotate: -1 }', '"approvals.rotate" must be a number from 0, not "-1"'],
    [
      'worker: { listen: localhost }',
      '"worker.listen" must be an address such as "127.0.0.1:9464"',
    ],
    ['worker: { listen: "h:65536" }', '"worker.listen" must be an address'],
    ...['http://logs.example/', 'ftp://127.0.0.1/', 'logs'].map((url) => [
      `audit: { anchor_url: "${url}" }`,
      '"audit.anchor_url" is neither https:// nor http:// of this host itself',
    ]),
    [
      'audit: { anchor_url: "https://ann:secret@logs.example/" }',
      '"audit.anchor_url" has a user or password in it, which is not supported',
    ],
    ['log: { level: loud }', '"log.level" must be one of fatal, error, warn, info, debug'],
    ['log: { pretty: maybe }', '"log.pretty" must be "auto", true or false, not "maybe"'],
    ['kek: { provider: vault }', '"kek.provider" must be "env" or "pkcs11", not "vault"'],
    ['mongodb: { database: "a b" }', '"mongodb.database" must be a name that MongoDB allows'],
    ['mongodb: text', '"mongodb" must be a section, not "text"'],
  ])('is refused: %s', (line, message) => {
    const section = line.slice(0, line.indexOf(':'))
    const rest = least.replace(new RegExp(`^${section}:.*\n`, 'm'), '')
    const answer = found(`${rest}${line}\n`)
    expect(answer).toMatch(/^config-invalid: keyturn.yaml:[45]|^config-invalid: keyturn.yaml:6/)
    expect(answer).toContain(message)
    expect(answer).toMatch(/ \| write for example: /)
  })

  test.each([
    ['fleet: { heartbeat: 30s, lease: 60s, expire: 61s }'],
    ['rewrap: { page: 1, shards: 1000, check: none }'],
    ['approvals: { expires: 365d, remove: 0 }'],
    ['install: acme.prod_1-a'],
  ])('ends at the limit: %s is accepted', (line) => {
    const section = line.slice(0, line.indexOf(':'))
    expect(found(`${least.replace(new RegExp(`^${section}:.*\n`, 'm'), '')}${line}\n`)).toBe('none')
  })

  test.each([
    ['module_path: m, slot: -1', '"kek.pkcs11.slot" must be the number of a slot, not "-1"'],
    ['module_path: m, slot: 1, token_label: t', 'a second time: token_label and slot are both set'],
    ['module_path: m, token_label: t, token_serial: "1"', 'token_label and token_serial'],
    ['module_path: m, token_serial: 0123', '"kek.pkcs11.token_serial" must be a text in quotes'],
    ['module_path: m, slot: 1, max_sessions: 0', 'max_sessions" must be a number from 1, not "0"'],
    ['module_path: m, slot: 1, use_gcm_iv_from_hsm: 1', 'must be "auto", true or false, not "1"'],
    [
      `module_path: m, slot: 1, key_label_prefix: ${'k'.repeat(30)}`,
      'must have at most 29 characters (a label has at most 32)',
    ],
    [
      'module_path: m, slot: 1, module_parameters: 1',
      '"kek.pkcs11.module_parameters" must be a text in quotes',
    ],
    ['module_path: m, slot: 1, pin: 8642', '"kek.pkcs11.pin" must be a text in quotes | write'],
  ])('of kek.pkcs11 is refused: %s', (section, message) => {
    const answer = found(kekOf(section))
    expect(answer).toContain(message)
    expect(answer).not.toContain('8642')
  })

  test('that replaces the whole file is refused', () => {
    expect(found('- a\n')).toContain('1:1: the file must be a map of sections')
    expect(found('text\n')).toContain('1:1: the file must be a map of sections')
  })
})

describe('fields and collections', () => {
  const fields = (list: string) => found(change('[private_key]', `[${list}]`))

  test.each([
    ['a, b, a', '5:45: "collections[0].envelopes[2]" names the field "a" a second time'],
    ['a, a.b', '"collections[0].envelopes[1]" is inside the field "a": "a.b"'],
    ['a.b.c, a', 'contains another field, "a.b.c": "a"'],
    ['a..b', 'must not have empty parts, not "a..b"'],
    ['.a', 'must not have empty parts'],
    ['a.', 'must not have empty parts'],
    ['""', 'must not have empty parts'],
    ['a.$b', 'must not contain "$", not "a.$b"'],
    ['_id', 'must not be inside "_id"'],
    ['_id.x', 'must not be inside "_id"'],
    ['1', '"collections[0].envelopes[0]" must be the dotted path of a field, not "1"'],
  ])('are refused when they cannot hold envelopes: %s', (list, message) => {
    expect(fields(list)).toContain(message)
  })

  test('may have similar names', () => {
    expect(fields('a.b, a.bc, ab, b.a')).toBe('none')
  })

  test.each([
    [
      'certificates',
      '6:7: "collections[1].name" names the collection "certificates" a second time',
    ],
    ['kek_versions', `must not be one of keyturn's own collections, not "kek_versions"`],
    ['system.users', "must not be one of MongoDB's own"],
    ['.hidden', 'must not begin or end with a dot, nor have two in a row'],
    ['a..b', 'must not begin or end with a dot, nor have two in a row'],
    ['a$b', 'must not contain "$"'],
    ['""', 'must not be empty'],
  ])('are refused by the name %s', (name, message) => {
    expect(found(`${least}  - { name: ${name}, envelopes: [x] }\n`)).toContain(message)
  })
})

describe('text that is not YAML', () => {
  test.each([
    ['install: [a', 'keyturn.yaml:1:12: not valid yaml (bad indent)'],
    ['install: a\ninstall: b\n', 'keyturn.yaml:2:1: the key "install" appears twice'],
    ['a: 1\n---\nb: 2\n', 'not valid yaml (multiple docs)'],
    ['kek:\n\tprovider: env\n', 'keyturn.yaml:2:1: not valid yaml (tab as indent)'],
  ])('is refused with line and column: %#', (text, message) => {
    expect(found(text)).toContain(message)
  })

  test('is never shown', () => {
    expect(found('kek: { pkcs11: { pin: "hunter2 } }\n')).not.toContain('hunter2')
  })
})

test('an error is one line without a full stop', () => {
  for (const text of ['', 'x: 1', '- a', 'a: [', change('app', '"a b"')]) {
    expect(found(text)).not.toMatch(/\n|\. \||\.$/)
  }
})
