import {
  MongoClient,
  ReadConcern,
  WriteConcern,
  type Db,
  type Document,
  type MongoClientOptions,
} from 'mongodb'
import { setTimeout as pause } from 'node:timers/promises'
import { KeyturnError } from '../contracts/errors.ts'
import { reasonOf } from '../contracts/reasons.ts'
import { awaiting } from '../observability/awaiting.ts'
import { throughElection } from './election.ts'
import { KnownMembers } from './known-members.ts'
import { limitedDb } from './limited-db.ts'
import { limits } from './limits.ts'
import { listed, readAddress, refusedAddress, withoutSecrets } from './mongodb-address.ts'
import { asOpeningError, asStoreError } from './store-errors.ts'
import { checkTlsFiles } from './tls-files.ts'
import { withTlsReason } from './tls-refusal.ts'

/** How long a statement waits for a connection of the pool, in milliseconds; the driver's default is no limit. */
const waitQueueMs = 10_000

/** Between two looks for a primary, in milliseconds. */
const lookAgainMs = 250

/** One database of a MongoDB with transactions. Statements take it as their first argument. */
export interface Store {
  readonly client: MongoClient
  readonly db: Db
  /** True behind a mongos, for a sharded cluster. */
  readonly isRouter: boolean
  close(): Promise<void>
}

export interface StoreOptions {
  /** Ignored when `client` is given. */
  uri: string
  database: string
  /** An application's own client: used, never closed. */
  client?: MongoClient
}

/** Reads are from the primary and majority-committed; writes are confirmed by a majority. */
const concerns = {
  readConcern: new ReadConcern('majority'),
  writeConcern: new WriteConcern('majority', limits.majority),
  readPreference: 'primary',
} as const

/** Statements rely on these: an application's client may have set others. */
const bson = {
  raw: false,
  promoteValues: true,
  promoteLongs: true,
  promoteBuffers: false,
  useBigInt64: false,
  ignoreUndefined: false,
  serializeFunctions: false,
  bsonRegExp: false,
  // Otherwise one string that is not UTF-8 makes the driver throw for all documents of a batch.
  enableUtf8Validation: false,
}

/**
 * Connects within five seconds, or, while members answer and elect a primary, within fifteen; all statements have limits
 * (limited-db.ts). Throws `mongodb-unreachable`, `mongodb-refused` (login), `mongodb-not-replica-set` (a standalone has no
 * transactions), `config-invalid` for an address, an option or a TLS file that cannot be used.
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  const client = options.client ?? clientFor(options.uri)
  const members = new KnownMembers(client)
  const close = async () => {
    if (options.client === undefined) await client.close()
  }
  try {
    const db = client.db(options.database, { ...concerns, ...bson })
    const hello = await awaiting('mongodb: a primary', () =>
      members.firstAnswer(greeting(client, db)),
    )
    const isRouter = requireTransactions(hello, client)
    return { client, db: limitedDb(db), isRouter, close }
  } catch (error) {
    await close()
    throw masked(withTlsReason(asOpeningError(error, addressOf(client)), client), options.uri)
  } finally {
    members.close()
  }
}

/** Opens a store, always closes it, and turns the driver's errors into coded ones. */
export async function withStore<T>(
  options: StoreOptions,
  use: (store: Store) => Promise<T>,
): Promise<T> {
  const store = await openStore(options)
  try {
    return await use(store)
  } catch (error) {
    throw masked(asStoreError(error, addressOf(store.client)), options.uri)
  } finally {
    await store.close()
  }
}

/** The primary's clock, the same that `$$NOW` shows. */
export async function serverNow(store: Store): Promise<Date> {
  const { localTime } = await store.db.command({ hello: 1 })
  return localTime as Date
}

/** A primary that steps down still answers. Waits for another one if the address names all members. */
async function greeting(client: MongoClient, db: Db): Promise<Document> {
  const began = performance.now()
  for (;;) {
    const hello = await throughElection(() => db.command({ hello: 1 }), true)
    const mayPass = typeof hello['setName'] === 'string' && !client.options.directConnection
    if (hello['isWritablePrimary'] === true || !mayPass) return hello
    if (performance.now() - began > limits.election) return hello
    await pause(lookAgainMs)
  }
}

function clientFor(uri: string): MongoClient {
  const options: MongoClientOptions = {
    serverSelectionTimeoutMS: limits.election,
    connectTimeoutMS: limits.connect,
    waitQueueTimeoutMS: waitQueueMs,
    retryWrites: true,
    retryReads: true,
  }
  const address = readAddress(uri)
  try {
    const client = new MongoClient(address.uri, { ...options, ...defaultName(address.uri) })
    checkTlsFiles(client)
    return client
  } catch (error) {
    // Nothing was opened yet, so the error is about the address.
    const refused = error instanceof KeyturnError ? error : refusedAddress(reasonOf(error), listed)
    throw masked(refused, uri)
  }
}

/** Shown in the server's log; an address may set another. */
function defaultName(uri: string): MongoClientOptions {
  return /[?&]appname=/i.test(uri) ? {} : { appName: 'keyturn' }
}

/** The same error without secrets of the address, because its message quotes the driver. */
function masked(error: unknown, uri: string): unknown {
  if (!(error instanceof KeyturnError)) return error
  const { code, message, hint, cause } = error
  const cut = withoutSecrets(message, uri)
  if (cut === message) return error
  return new KeyturnError(code, cut, { ...(hint === undefined ? {} : { hint }), cause })
}

/** True for a mongos: its `msg` is "isdbgrid"; a member of a replica set has a `setName`. Throws for a standalone server, and for a member that is not the primary. */
function requireTransactions(hello: Document, client: MongoClient): boolean {
  if (hello['msg'] === 'isdbgrid') return true
  if (typeof hello['setName'] !== 'string') {
    const address = addressOf(client)
    throw new KeyturnError('mongodb-not-replica-set', `${address} is a standalone server`, {
      hint: 'keyturn needs transactions: start mongod with --replSet, run rs.initiate() once',
    })
  }
  // All other addresses lead to the primary by themselves.
  if (hello['isWritablePrimary'] === true) return false
  const hint = client.options.directConnection
    ? `take directConnection=true out of mongodb.uri, and name the set: replicaSet=${hello['setName']}`
    : 'its members elect none: rs.status() on one of them shows why'
  throw new KeyturnError('mongodb-unreachable', `${addressOf(client)} is not the primary`, { hint })
}

function addressOf(client: MongoClient): string {
  const hosts = client.options.hosts.map((host) => host.toString()).join(',')
  return `mongodb at "${client.options.srvHost ?? hosts}"`
}
