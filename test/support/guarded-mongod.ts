import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { MongoClient, type Document } from 'mongodb'
import { replicaSet, spawnMongod, untilListening } from '../../devstack/mongod.ts'
import { findServer } from '../../devstack/servers/find-server.ts'
import { waitUntil } from '../../devstack/wait-until.ts'
import { freePort } from '../../workers/free-port.ts'

/** A mongod with authorization: a replica set of one, whose members share a key file. */
export interface GuardedMongod {
  readonly port: number
  /** An address with this login and these options (`tls=true`). */
  address(login: Login | null, options?: Readonly<Record<string, string>>): string
  /** The administrator's. */
  readonly adminAddress: string
  /** Runs a command as the administrator. */
  admin(database: string, command: Document): Promise<Document>
  /** Stops it, which cuts all connections, and starts it again. */
  restart(): Promise<void>
  stop(): Promise<void>
}

export interface Login {
  readonly user: string
  readonly password: string
}

export const administrator: Login = { user: 'root', password: randomBytes(12).toString('hex') }

const waitMs = 60_000

/** `args`: further options of mongod. `options`: those that clients need to connect to it. */
export async function startGuardedMongod({
  args = [],
  options = {},
}: {
  args?: readonly string[]
  options?: Readonly<Record<string, string>>
} = {}): Promise<GuardedMongod> {
  await mkdir('.keyturn', { recursive: true })
  const folder = await mkdtemp(join(process.cwd(), '.keyturn', 'guarded-'))
  const keyFile = join(folder, 'key')
  await writeFile(keyFile, randomBytes(96).toString('base64'), { mode: 0o600 })
  const data = join(folder, 'data')
  await mkdir(data)
  const port = await freePort()
  const logFile = join(folder, 'mongod.log')
  const { path } = await findServer('mongod', { print: console.error })
  const more = ['--auth', '--keyFile', keyFile, ...args]
  const start = () => spawnMongod({ path, port, data, logFile, more })
  let server = start()
  const host = `127.0.0.1:${port}`
  const address = (login: Login | null, more: Readonly<Record<string, string>> = options) => {
    const at = login === null ? host : `${login.user}:${login.password}@${host}`
    return `mongodb://${at}/?${new URLSearchParams({ replicaSet, ...more }).toString()}`
  }
  const admin = async (database: string, command: Document) =>
    await withClient(address(administrator), (client) => client.db(database).command(command))
  const stop = async () => {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
  const primary = async () => {
    await untilListening(server, port, logFile)
    await waitUntil(
      'the guarded mongod is not the primary',
      async () => {
        return (await admin('admin', { hello: 1 }))['isWritablePrimary'] === true
      },
      { withinMs: waitMs },
    )
  }
  try {
    await untilListening(server, port, logFile)
    await firstUser(
      `mongodb://${host}/?${new URLSearchParams({ ...options, directConnection: 'true' }).toString()}`,
      host,
    )
    await primary()
  } catch (error) {
    await stop()
    throw error
  }
  return {
    port,
    adminAddress: address(administrator),
    address,
    admin,
    async restart() {
      await server.stop()
      server = start()
      await primary()
    },
    stop,
  }
}

/** While there is no user, the server accepts these commands from its own host (the localhost exception). */
async function firstUser(direct: string, host: string): Promise<void> {
  await withClient(direct, async (client) => {
    const db = client.db('admin')
    await db.command({ replSetInitiate: { _id: replicaSet, members: [{ _id: 0, host }] } })
    await waitUntil(
      'the guarded mongod does not become the primary',
      async () => {
        return (await db.command({ hello: 1 }))['isWritablePrimary'] === true
      },
      { withinMs: waitMs },
    )
    const { user, password } = administrator
    await db.command({ createUser: user, pwd: password, roles: ['root'] })
  })
}

async function withClient<T>(
  address: string,
  use: (client: MongoClient) => Promise<T>,
): Promise<T> {
  const client = new MongoClient(address, { serverSelectionTimeoutMS: 10_000 })
  try {
    return await use(client)
  } finally {
    await client.close()
  }
}
