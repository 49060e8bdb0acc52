import { BSON } from 'mongodb'
import { randomBytes } from 'node:crypto'
import { KeyturnError } from '../contracts/errors.ts'
import type { ProviderName } from '../contracts/kek.ts'
import { collections, type InstallIdentity } from '../contracts/names.ts'
import { recordAudit } from './audit-outbox.ts'
import type { HomeDoc, InstallDoc } from './documents.ts'
import { keystore } from './keystore.ts'
import { readHome } from './keystore-home.ts'
import { isDuplicateKey, isExistingCollection } from './server-errors.ts'
import { serverNow, type Store } from './store.ts'
import { inTransaction } from './transaction.ts'

/** Schema of the keystore that this version reads and writes. */
const schema = 2

/** Bytes of a keystore's id. */
const idLength = 16

/** The install and provider that a process expects. */
export interface InstallName {
  name: string
  provider: ProviderName
}

export function newInstallId(): string {
  return randomBytes(idLength).toString('hex')
}

export function identityOf({ name, id }: InstallDoc): InstallIdentity {
  return { name, id }
}

/**
 * Null if `setup` has not run on the database. Throws `schema-older` and `schema-newer`. It does not check the install: see
 * `requireInstall`.
 */
export async function readInstall(store: Store): Promise<InstallDoc | null> {
  const row = await keystore.install(store).findOne({ _id: 'install' })
  if (row !== null) requireSchema(row, store.db.databaseName)
  return row
}

/**
 * Gives an empty keystore its identity, and returns the stored one: the first writer wins. Throws `install-locked` if
 * there are versions without an identity.
 */
export async function insertInstall(
  store: Store,
  { name, created_by }: { name: string; created_by: string },
): Promise<InstallDoc> {
  const before = await readInstall(store)
  if (before !== null) return before
  await refuseOrphans(store)
  // Created now: its UUID becomes part of the document.
  for (const collection of [collections.install, collections.auditOutbox]) {
    await store.db.createCollection(collection).catch((error: unknown) => {
      if (!isExistingCollection(error)) throw error
    })
  }
  const row: InstallDoc = {
    _id: 'install',
    name,
    id: newInstallId(),
    home: await readHome(store),
    schema,
    provider: null,
    stores: [],
    restoration: null,
    created_at: await serverNow(store),
    created_by,
  }
  try {
    await inTransaction(store, async (session) => {
      await keystore.install(store).insertOne(row, { session })
      await recordAudit(
        store,
        { actor: created_by, action: 'install', subject: name, details: { id: row.id } },
        session,
      )
    })
    return row
  } catch (error) {
    if (!isDuplicateKey(error)) throw error
  }
  const there = await readInstall(store)
  if (there !== null) return there
  throw new KeyturnError('internal', 'the identity of the keystore is gone right after it was read')
}

/**
 * The first installation sets the provider and a key store of the same name; every installation is counted there. Throws
 * `install-locked` if another provider was first, `setup-missing` before `setup`.
 */
export async function claimProvider(
  store: Store,
  { name, provider, by }: InstallName & { by: string },
): Promise<InstallDoc> {
  await keystore.install(store).updateOne({ _id: 'install', provider: null }, [
    {
      $set: {
        provider: { $literal: provider },
        stores: [
          {
            name: { $literal: provider },
            provider: { $literal: provider },
            token: null,
            installs: 0,
            added_at: '$$NOW',
            added_by: { $literal: by },
            retired_at: null,
          },
        ],
      },
    },
  ])
  const there = await requireInstall(store, { name, provider })
  if (there !== null) return there
  throw new KeyturnError('setup-missing', `"${store.db.databaseName}" is no keystore yet`, {
    hint: 'run: keyturn setup',
  })
}

/** Records where the keystore is now, unless another process has recorded its home since `recorded` was read. */
export async function recordHome(
  store: Store,
  recorded: HomeDoc,
  today: HomeDoc,
): Promise<boolean> {
  const { matchedCount } = await keystore
    .install(store)
    .updateOne(
      { _id: 'install', 'home.collection': recorded.collection, 'home.hosts': recorded.hosts },
      { $set: { home: today } },
    )
  return matchedCount === 1
}

/** Records a public key that signs heads of the audit; false if it is recorded already. */
export async function recordAuditKey(
  store: Store,
  { key, by }: { key: string; by: string },
): Promise<boolean> {
  return inTransaction(store, async (session) => {
    const { modifiedCount } = await keystore
      .install(store)
      .updateOne({ _id: 'install' }, { $addToSet: { audit_keys: key } }, { session })
    if (modifiedCount === 0) return false
    const subject = 'audit.signing_key'
    await recordAudit(
      store,
      { actor: by, action: 'settings-recorded', subject, details: { key } },
      session,
    )
    return true
  })
}

/** Counts an installation in its key store. */
export async function countInstallation(store: Store, name: string): Promise<void> {
  await keystore
    .install(store)
    .updateOne({ _id: 'install', 'stores.name': name }, { $inc: { 'stores.$.installs': 1 } })
}

/**
 * The identity of the keystore, or null if there is none. Throws `schema-older` and `schema-newer` for an unknown schema,
 * `install-locked` if it belongs to another install or provider.
 */
export async function requireInstall(
  store: Store,
  expected: InstallName,
): Promise<InstallDoc | null> {
  const row = await readInstall(store)
  if (row !== null) judgeInstall(row, expected, store.db.databaseName)
  return row
}

/** The checks of `requireInstall` on a document that was read already. */
export function judgeInstall(row: InstallDoc, expected: InstallName, database: string): void {
  requireSchema(row, database)
  if (row.name !== expected.name) {
    throw new KeyturnError(
      'install-locked',
      `the database is locked for install "${row.name}", not "${expected.name}"`,
      { hint: `set install: ${row.name}, or use another database` },
    )
  }
  if (row.provider !== null && row.provider !== expected.provider) {
    throw new KeyturnError(
      'install-locked',
      `the database is locked for provider "${row.provider}", not "${expected.provider}"`,
      {
        hint: `set kek.provider: ${row.provider}, or use another database: a provider is never changed`,
      },
    )
  }
}

function requireSchema(row: InstallDoc, database: string): void {
  const found: unknown = row.schema
  if (found === schema) return
  const isNewer = typeof found === 'number' && found > schema
  const isOlder = typeof found === 'number' && found < schema
  const shown = found === undefined ? 'none' : BSON.EJSON.stringify(found)
  throw new KeyturnError(
    isNewer ? 'schema-newer' : 'schema-older',
    `the keystore in "${database}" has schema "${shown}", this keyturn reads and writes ${schema}`,
    { hint: isNewer ? newerHint : isOlder ? olderHint : oddHint },
  )
}

const newerHint = 'upgrade keyturn on this host'
const olderHint = `a keystore of before ${schema} cannot be upgraded: set up a new database`
const oddHint = `kek_install.schema is a whole number, from ${schema} on: restore kek_install from a backup`

async function refuseOrphans(store: Store): Promise<void> {
  const orphan = await keystore.versions(store).findOne({}, { sort: { _id: 1 } })
  if (orphan === null) return
  throw new KeyturnError(
    'install-locked',
    `"${store.db.databaseName}" holds version ${orphan._id}, but kek_install is gone`,
    { hint: 'restore kek_install from a backup: it names the install of these keys' },
  )
}
