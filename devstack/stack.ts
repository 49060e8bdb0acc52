import { randomBytes } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { MongoClient } from 'mongodb'
import type { ProviderName } from '../contracts/kek.ts'
import { freePort } from '../workers/free-port.ts'
import { quickSettings, writeConfig } from './stack-config.ts'
import type { StackSettings } from './stack-config.ts'
import { makeKeys } from './stack-keys.ts'
import { startServers } from './stack-servers.ts'
import type { ServerOptions, StackServers } from './stack-servers.ts'
import { startWorkerProcess } from './worker-process.ts'
import type { WorkerProcess } from './worker-process.ts'

/**
 * A fleet on one machine: MongoDB as a replica set, Temporal with its web UI, one SoftHSM2 token (or environment keys)
 * for all nodes, and a `keyturn.yaml` for each. Workers are started one by one. Everything that it writes is in its folder;
 * everything that it starts is supervised (supervised-child.ts) and ends with this process at the latest.
 */
export interface Stack {
  readonly folder: string
  readonly provider: ProviderName
  readonly settings: StackSettings
  readonly mongoUri: string
  readonly temporalAddress: string
  /** Null when the stack did not start the server. */
  readonly temporalUi: string | null
  /** This process's environment plus the variables for the keys: for workers, applications and the command line. */
  readonly env: NodeJS.ProcessEnv
  /** What `env` has beyond this process's environment. */
  readonly keyEnv: Readonly<Record<string, string>>
  /** For the command line and applications. */
  readonly configPath: string
  configFile(node: string): string
  /** Resolves when its health page answers. A node whose worker ended may be started again. `flags` are for Node itself. */
  startWorker(node: string, flags?: readonly string[]): Promise<WorkerProcess>
  /** Workers first, then the servers, then the folder, unless it is kept. Only the first call counts. */
  stop(how?: { keep: boolean }): Promise<void>
}

export interface StackOptions extends ServerOptions {
  /** Leave the folder when the stack stops; it can be started again from there. */
  readonly keep: boolean
  readonly provider: ProviderName
  readonly nodes: readonly string[]
  readonly settings?: StackSettings
}

export async function startStack(options: StackOptions): Promise<Stack> {
  const { folder, provider, keep, nodes } = options
  await mkdir(folder, { recursive: true, mode: 0o700 })
  let servers: StackServers | null = null
  try {
    servers = await startServers(options)
    const settings = settingsFor(options.settings ?? quickSettings, servers.ownMongod)
    const keys = await makeKeys(provider, folder, settings.install)
    const { mongoUri, temporalAddress, temporalUi } = servers
    const parts = { settings, provider, token: keys.token, mongoUri, temporalAddress }
    const configPath = await writeConfig(folder, 'keyturn', { ...parts, listenPort: null })
    const hosts = new Map<string, Host>()
    for (const node of nodes) {
      const listenPort = await freePort()
      hosts.set(node, {
        configFile: await writeConfig(folder, node, { ...parts, listenPort }),
        listenPort,
        logFile: join(folder, `${node}.log`),
      })
    }
    const env = { ...process.env, ...keys.env }
    const workers: WorkerProcess[] = []
    return {
      folder,
      provider,
      settings,
      mongoUri,
      temporalAddress,
      temporalUi,
      env,
      configPath,
      keyEnv: keys.env,
      configFile: (node) => hostOf(hosts, node).configFile,
      startWorker: async (node, flags = []) => {
        const worker = await startWorkerProcess({ node, env, flags, ...hostOf(hosts, node) })
        workers.push(worker)
        return worker
      },
      stop: stopOnce(workers, servers, options, settings.database),
    }
  } catch (error) {
    await servers?.stop()
    if (!keep) await rm(folder, { recursive: true, force: true })
    throw error
  }
}

/** On a server that the stack did not start, the database gets a unique name, and is dropped at the end. */
function settingsFor(settings: StackSettings, ownMongod: boolean): StackSettings {
  if (ownMongod) return settings
  return { ...settings, database: `${settings.database}-${randomBytes(4).toString('hex')}` }
}

interface Host {
  readonly configFile: string
  readonly listenPort: number
  readonly logFile: string
}

function hostOf(hosts: ReadonlyMap<string, Host>, node: string): Host {
  const host = hosts.get(node)
  if (host === undefined) throw new Error(`the stack has no node "${node}"`)
  return host
}

function stopOnce(
  workers: readonly WorkerProcess[],
  servers: StackServers,
  options: StackOptions,
  database: string,
): Stack['stop'] {
  let stopped: Promise<void> | null = null
  const stop = async (keep: boolean) => {
    await Promise.all(workers.map((worker) => worker.process.stop()))
    if (!keep && !servers.ownMongod) await dropDatabase(servers.mongoUri, database)
    await servers.stop()
    if (!keep) await rm(options.folder, { recursive: true, force: true })
  }
  return (how) => (stopped ??= stop(how?.keep ?? options.keep))
}

async function dropDatabase(uri: string, database: string): Promise<void> {
  const client = new MongoClient(uri)
  try {
    await client.db(database).dropDatabase()
  } finally {
    await client.close()
  }
}
