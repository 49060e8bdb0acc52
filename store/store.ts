import { MongoClient, ReadConcern, WriteConcern, type Db, type MongoClientOptions } from 'mongodb'
import { KeyturnError } from '../contracts/errors.ts'
import { asStoreError } from './store-errors.ts'

/** How long an operation looks for a usable server before it fails, in milliseconds. */
const serverSelectionMs = 5_000

/** How long the primary may take for a sign of life, in milliseconds. */
const answerMs = 2_000

/** One database of a MongoDB that has transactions. Statements take it as their first argument. */
export interface Store {
  readonly client: MongoClient
  readonly db: Db
  /** A mongos answers, for a sharded cluster. */
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

/** What decides something is read from the primary and known to stay; what is written stays. */
const concerns = {
  readConcern: new ReadConcern('majority'),
  writeConcern: new WriteConcern('majority'),
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
}

/**
 * Connects within five seconds. Throws `mongodb-unreachable`, `mongodb-refused` (login), `mongodb-not-replica-set`
 * (a standalone has no transactions), `config-invalid` for an address that is none.
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  const client = options.client ?? clientFor(options.uri)
  const close = async () => {
    if (options.client === undefined) await client.close()
  }
  try {
    const db = client.db(options.database, { ...concerns, ...bson })
    const isRouter = await requireTransactions(db, addressOf(client))
    return { client, db, isRouter, close }
  } catch (error) {
    await close()
    throw asStoreError(error, addressOf(client))
  }
}

/** Bracket around `openStore`: closes in any case, and turns the driver's errors into coded ones. */
export async function withStore<T>(
  options: StoreOptions,
  use: (store: Store) => Promise<T>,
): Promise<T> {
  const store = await openStore(options)
  try {
    return await use(store)
  } catch (error) {
    throw asStoreError(error, addressOf(store.client))
  } finally {
    await store.close()
  }
}

/** The primary's clock, the same that `$$NOW` shows. */
export async function serverNow(store: Store): Promise<Date> {
  const { localTime } = await store.db.command({ hello: 1 })
  return localTime as Date
}

/** Throws `mongodb-unreachable` when the primary does not answer within two seconds; other errors as the driver has them. */
export async function requireAnswer(store: Store): Promise<void> {
  const signal = AbortSignal.timeout(answerMs)
  try {
    await store.db.command({ ping: 1 }, { signal })
  } catch (cause) {
    if (!signal.aborted) throw asStoreError(cause)
    throw new KeyturnError('mongodb-unreachable', `mongodb has not answered for ${answerMs} ms`, {
      cause,
    })
  }
}

function clientFor(uri: string): MongoClient {
  const options: MongoClientOptions = {
    appName: 'keyturn',
    serverSelectionTimeoutMS: serverSelectionMs,
    connectTimeoutMS: serverSelectionMs,
    retryWrites: true,
    retryReads: true,
  }
  try {
    return new MongoClient(uri, options)
  } catch {
    // The driver's words may quote the address, and with it a password.
    throw new KeyturnError('config-invalid', 'the MongoDB address cannot be understood', {
      hint: 'write it as mongodb://host:port/ or mongodb+srv://host/, special characters percent-encoded',
    })
  }
}

/** Answers whether it is a mongos: one says "isdbgrid", a member of a replica set the set's name. */
async function requireTransactions(db: Db, address: string): Promise<boolean> {
  const hello = await db.command({ hello: 1 })
  if (hello['msg'] === 'isdbgrid') return true
  if (typeof hello['setName'] === 'string') return false
  throw new KeyturnError('mongodb-not-replica-set', `${address} is a standalone server`, {
    hint: 'keyturn needs transactions: start mongod with --replSet, run rs.initiate() once',
  })
}

function addressOf(client: MongoClient): string {
  const hosts = client.options.hosts.map((host) => host.toString()).join(',')
  return `mongodb at '${client.options.srvHost ?? hosts}'`
}
