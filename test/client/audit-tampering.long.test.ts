import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeEach, describe, expect, inject, test } from 'vitest'
import { checkAudit, type KnownHead } from '../../client/audit/check.ts'
import { auditHead } from '../../client/audit/head.ts'
import { loadConfig } from '../../config/load-config.ts'
import { makeSigningKey, readSigningKey } from '../../config/signing-key.ts'
import type { AuditHead, SignedHead } from '../../contracts/audit.ts'
import { collections } from '../../contracts/names.ts'
import { chainAuditFirst } from '../../store/audit-chain.ts'
import { auditHash, genesis } from '../../store/audit-hash.ts'
import { publicPem, signedHead } from '../../store/audit-head.ts'
import { recordAudit } from '../../store/audit-outbox.ts'
import type { AuditDoc } from '../../store/documents.ts'
import { insertInstall, recordAuditKey } from '../../store/kek-install.ts'
import { writeSettings } from '../../store/kek-settings.ts'
import { keystore } from '../../store/keystore.ts'
import { settingsOf } from '../../config/settings.ts'
import { testStore } from '../store/support.ts'

const store = await testStore()
const folder = mkdtempSync(path.join(tmpdir(), 'keyturn-audit-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const keyFile = path.join(folder, 'audit.key')
const headsFile = path.join(folder, 'heads.jsonl')
const file = path.join(folder, 'keyturn.yaml')
writeFileSync(
  file,
  `install: payments
mongodb: { uri: "${inject('mongoUri')}", database: ${store.db.databaseName} }
kek: { provider: env }
collections: [{ name: certificates, envelopes: [secret.key] }]
audit: { signing_key: audit.key }
`,
)
const config = loadConfig({ file })
const signer = makeSigningKey(keyFile)
const audit = keystore.audit(store)

/** Heads that were kept outside, after 5 and after 8 entries. */
let kept: SignedHead[] = []

beforeEach(async () => {
  for (const name of [collections.audit, collections.auditOutbox, collections.install]) {
    await store.db.collection(name).deleteMany({})
  }
  await insertInstall(store, { name: 'payments', created_by: 'alice' })
  await writeSettings(store, { settings: settingsOf(config), by: 'alice' })
  await recordAuditKey(store, { key: publicPem(signer), by: 'alice' })
  kept = []
  for (const subjects of [
    ['v1', 'v2', 'v3'],
    ['v4', 'v5', 'v6'],
  ]) {
    for (const subject of subjects) await act(subject)
    kept.push(await auditHead(config))
  }
  keep(kept)
})

const act = (subject: string) =>
  recordAudit(store, { actor: 'alice', action: 'tested', subject, details: {} })

function keep(heads: readonly object[]): void {
  writeFileSync(headsFile, heads.map((head) => `${JSON.stringify(head)}\n`).join(''))
}

const rows = () => audit.find({}, { sort: { _id: 1 } }).toArray()

/** Writes a chain without a break, as somebody could who knows the rules and may write. */
async function forge(entries: AuditDoc[]): Promise<void> {
  let prev = genesis
  const chain = entries.map((entry, index) => {
    const { at, actor, action, subject, details } = entry
    const rest = { _id: index + 1, at, actor, action, subject, details, prev }
    prev = auditHash(rest)
    return { ...rest, hash: prev }
  })
  await audit.deleteMany({})
  if (chain.length > 0) await audit.insertMany(chain)
}

const renumbered = ({ at, actor, action, subject, details, prev, hash }: AuditDoc) => ({
  at,
  actor,
  action,
  subject,
  details,
  prev,
  hash,
})

const unsigned = ({ type, install, entries, head, at }: SignedHead): AuditHead => ({
  type,
  install,
  entries,
  head,
  at,
})

async function verified(known: KnownHead = { head: headsFile }) {
  return (await checkAudit(config, known)).error
}

test('an untouched record holds every head that was kept', async () => {
  expect(kept.map(({ entries }) => entries)).toEqual([5, 8])
  expect(await verified()).toBeNull()
  const [, { head, entries }] = kept as [SignedHead, SignedHead]
  expect(await verified({ head })).toBeNull()
  expect(await verified({ head, entries })).toBeNull()
  expect(await verified({ entries })).toBeNull()
  expect(await verified({ head, entries: 5 })).toMatchObject({ code: 'audit-broken' })
  expect(await verified({ entries: 9 })).toMatchObject({ code: 'audit-broken' })
})

describe('is found, with the heads that were kept:', () => {
  const forged = async (change: (entries: AuditDoc[]) => AuditDoc[]) => forge(change(await rows()))
  test.each<[string, () => Promise<unknown>]>([
    ['an edited entry', () => audit.updateOne({ _id: 3 }, { $set: { actor: 'bob' } })],
    ['a deleted entry', () => audit.deleteOne({ _id: 4 })],
    [
      'two entries in another order',
      async () => {
        const [three, four] = (await rows()).slice(2, 4) as [AuditDoc, AuditDoc]
        await audit.replaceOne({ _id: 3 }, renumbered(four))
        await audit.replaceOne({ _id: 4 }, renumbered(three))
      },
    ],
    [
      'an inserted entry',
      async () => {
        const [last] = (await rows()).slice(-1) as [AuditDoc]
        await audit.insertOne({ ...last, _id: 10 })
      },
    ],
    ['a tail that was cut off', () => audit.deleteMany({ _id: { $gte: 6 } })],
    ['a record that was cut off entirely', () => audit.deleteMany({})],
    [
      'an edit with all hashes after it made anew',
      () =>
        forged((entries) => entries.map((row) => (row._id === 3 ? { ...row, actor: 'bob' } : row))),
    ],
    [
      'a deletion with all hashes made anew',
      () => forged((entries) => entries.filter(({ _id }) => _id !== 4)),
    ],
    [
      'an insertion with all hashes made anew',
      () => forged((entries) => [...entries.slice(0, 3), entries[3]!, ...entries.slice(3)]),
    ],
    [
      'a cut tail that was filled up with other entries',
      async () => {
        await audit.deleteMany({ _id: { $gte: 7 } })
        for (const subject of ['x', 'y', 'z']) await act(subject)
        await chainAuditFirst(store)
      },
    ],
    [
      'swapped heads',
      () => {
        const [one, two] = kept as [SignedHead, SignedHead]
        keep([
          { ...one, head: two.head },
          { ...two, head: one.head },
        ])
        return Promise.resolve()
      },
    ],
    [
      'a signature that was replayed on another head',
      async () => {
        await audit.deleteMany({ _id: { $gte: 6 } })
        const [one, two] = kept as [SignedHead, SignedHead]
        keep([{ ...two, entries: one.entries, head: one.head }])
      },
    ],
    [
      'the signature of another key',
      async () => {
        const { privateKey } = generateKeyPairSync('ed25519')
        await forged((entries) => entries.slice(0, 6))
        keep([signedHead({ ...unsigned(kept[0]!), ...(await headOfNow()) }, privateKey)])
      },
    ],
    [
      'a signer that was exchanged in the keystore too',
      async () => {
        const { privateKey } = generateKeyPairSync('ed25519')
        await store.db
          .collection(collections.install)
          .updateOne({}, { $set: { audit_keys: [publicPem(privateKey)] } })
        await forged((entries) => entries.slice(0, 6))
        keep([signedHead({ ...unsigned(kept[0]!), ...(await headOfNow()) }, privateKey)])
      },
    ],
    [
      'a head without its signature',
      () => {
        keep(kept.map((head) => ({ ...head, signature: null, key: null })))
        return Promise.resolve()
      },
    ],
    [
      'a head of another keystore',
      () => {
        keep([signedHead({ ...unsigned(kept[0]!), install: '0'.repeat(32) }, signer)])
        return Promise.resolve()
      },
    ],
  ])('%s', async (_, tamper) => {
    await tamper()
    expect(await verified()).toMatchObject({ code: 'audit-broken', exitCode: 5 })
  })

  async function headOfNow() {
    const { entries, head } = await auditHead(config)
    return { entries, head }
  }
})

describe('the signing key', () => {
  test('is a file that only its user may read, and is never replaced', () => {
    expect(statSync(keyFile).mode & 0o777).toBe(0o600)
    expect(() => makeSigningKey(keyFile)).toThrow(/cannot write signing key .*EEXIST/)
    expect(publicPem(readSigningKey(keyFile)!)).toBe(publicPem(signer))
    expect(readFileSync(keyFile, 'utf8')).toContain('BEGIN PRIVATE KEY')
  })

  test.each([
    ['no PEM', 'hello', 0o600, /is no PEM of a private key/],
    [
      'of another type',
      generateKeyPairSync('x25519').privateKey.export({ type: 'pkcs8', format: 'pem' }),
      0o600,
      /is of type "x25519", not ed25519/,
    ],
    ['readable by others', 'hello', 0o644, /has mode "0644"/],
  ])('that is %s is refused', (name, text, mode, message) => {
    const odd = path.join(folder, name.replaceAll(' ', '-'))
    writeFileSync(odd, text, { mode })
    expect(() => readSigningKey(odd)).toThrow(message)
  })
})
