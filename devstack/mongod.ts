import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { MongoClient } from 'mongodb'
import type { Document } from 'mongodb'
import { KeyturnError } from '../contracts/errors.ts'
import { freePort } from '../workers/free-port.ts'
import { isListening } from './is-listening.ts'
import { spawnSupervised } from './supervised-child.ts'
import type { SupervisedChild } from './supervised-child.ts'
import { lastLine } from './servers/run-command.ts'
import { waitUntil } from './wait-until.ts'

export interface Mongod {
  readonly uri: string
  readonly port: number
  readonly process: SupervisedChild
  stop(): Promise<void>
}

/** The replica set's name. */
export const replicaSet = 'keyturn'
const startMs = 60_000

/**
 * Starts a mongod as a replica set of one node on a free port of the loopback address, with everything it writes under
 * `folder` (no socket file elsewhere). A folder of an earlier run is taken up again; `port` is taken if it is free.
 */
export async function startMongod(options: {
  path: string
  folder: string
  port?: number | undefined
  /** For `--setParameter`: `name=value`. */
  parameters?: readonly string[]
}): Promise<Mongod> {
  const data = join(options.folder, 'mongodb')
  const logFile = join(options.folder, 'mongod.log')
  await mkdir(data, { recursive: true })
  const wished =
    options.port !== undefined && !(await isListening(options.port)) ? options.port : null
  const port = wished ?? (await freePort())
  const { path, parameters } = options
  const process = spawnMongod({ path, port, data, logFile, ...(parameters && { parameters }) })
  try {
    await becomePrimary(process, port, logFile)
  } catch (error) {
    await process.kill()
    throw error
  }
  return {
    uri: `mongodb://127.0.0.1:${port.toString()}/?replicaSet=${replicaSet}`,
    port,
    process,
    stop: async () => {
      await process.stop()
    },
  }
}

/** A mongod that is to be a member of the replica set `keyturn`; its folder `data` is there. */
export function spawnMongod(options: {
  path: string
  port: number
  data: string
  logFile: string
  parameters?: readonly string[]
  /** Options of its own, such as `--auth`. */
  more?: readonly string[]
}): SupervisedChild {
  const { parameters = [], more = [] } = options
  return spawnSupervised({
    command: options.path,
    // prettier-ignore
    args: ['--replSet', replicaSet, '--bind_ip', '127.0.0.1', '--port', options.port.toString(), '--dbpath', options.data,
      '--nounixsocket', '--wiredTigerCacheSizeGB', '0.5', '--oplogSize', '512',
      ...['diagnosticDataCollectionEnabled=false', ...parameters].flatMap((each) => ['--setParameter', each]),
      ...more],
    logFile: options.logFile,
  })
}

/** Resolves when it takes connections; throws with its log's end when it ended instead. */
export async function untilListening(
  process: SupervisedChild,
  port: number,
  logFile: string,
): Promise<void> {
  await waitUntil(
    `mongod on port ${port.toString()} does not listen (${logFile})`,
    async () => {
      if (process.hasEnded()) throw await endedEarly(logFile)
      return isListening(port)
    },
    { withinMs: startMs },
  )
}

async function becomePrimary(
  process: SupervisedChild,
  port: number,
  logFile: string,
): Promise<void> {
  // A client whose first connection failed cannot be used again (driver 7.9: "Topology is closed"), so it is made after this.
  await untilListening(process, port, logFile)
  const host = `127.0.0.1:${port.toString()}`
  const client = new MongoClient(`mongodb://${host}/?directConnection=true`)
  const command = (document: Document) => client.db('admin').command(document)
  try {
    await configure(command, host)
    await waitUntil(
      `mongod on port ${port.toString()} does not become primary (${logFile})`,
      async () => (await command({ hello: 1 }))['isWritablePrimary'] === true,
      { withinMs: startMs, everyMs: 20 },
    )
  } finally {
    await client.close()
  }
}

/** A fresh folder is initiated; in a kept one the member gets its new port. */
async function configure(
  command: (document: Document) => Promise<Document>,
  host: string,
): Promise<void> {
  const members = [{ _id: 0, host }]
  const current = await command({ replSetGetConfig: 1 }).catch(() => null)
  if (current === null) {
    await command({ replSetInitiate: { _id: replicaSet, members } })
    return
  }
  const config = current['config'] as { version: number; members: { host: string }[] }
  if (config.members[0]?.host === host) return
  const moved = { ...config, version: config.version + 1, members }
  await command({ replSetReconfig: moved, force: true })
}

async function endedEarly(logFile: string): Promise<KeyturnError> {
  const log = await readFile(logFile, 'utf8').catch(() => '')
  const error = log.split('\n').findLast((line) => /"s":"[EF]"/.test(line)) ?? lastLine(log)
  return new KeyturnError(
    'server-missing',
    `mongod ended while starting: "${error.slice(0, 300)}"`,
    {
      hint: `its log is ${logFile}`,
    },
  )
}
