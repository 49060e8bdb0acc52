import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { addressVariables } from './fetch-servers.ts'
import { startMongod } from './mongod.ts'
import { findServer } from './servers/find-server.ts'
import type { Print } from './servers/progress.ts'
import { startTemporalServer } from './temporal-server.ts'
import type { TemporalPorts } from './temporal-server.ts'

/** MongoDB and Temporal of a stack: started here, or those that the options or the environment name. */
export interface StackServers {
  readonly mongoUri: string
  /** False when the stack did not start the database server: then it must leave nothing in it. */
  readonly ownMongod: boolean
  readonly temporalAddress: string
  readonly temporalUi: string | null
  stop(): Promise<void>
}

export interface ServerOptions {
  readonly folder: string
  readonly print: Print
  /** Use these and start none. */
  readonly mongoUri?: string | undefined
  readonly temporalAddress?: string | undefined
}

interface Ports {
  mongod?: number
  temporal?: TemporalPorts
}

/** Starts both at once; a kept folder gets its old ports again where they are free. */
export async function startServers(options: ServerOptions): Promise<StackServers> {
  const file = join(options.folder, 'ports.json')
  const ports = await readPorts(file)
  const starts = await Promise.allSettled([mongodOf(options, ports), temporalOf(options, ports)])
  const [mongod, temporal] = starts
  const stop = async () => {
    const running = starts.filter((start) => start.status === 'fulfilled')
    await Promise.all(running.map((start) => start.value.stop()))
  }
  if (mongod.status === 'rejected' || temporal.status === 'rejected') {
    await stop()
    throw mongod.status === 'rejected' ? mongod.reason : (temporal as PromiseRejectedResult).reason
  }
  await writeFile(
    file,
    JSON.stringify({ mongod: mongod.value.port, temporal: temporal.value.ports }),
  )
  return {
    mongoUri: mongod.value.uri,
    ownMongod: mongod.value.port !== undefined,
    temporalAddress: temporal.value.address,
    temporalUi: temporal.value.ui,
    stop,
  }
}

const nothing = async () => Promise.resolve()

async function mongodOf({ folder, print, mongoUri }: ServerOptions, ports: Ports) {
  const given = mongoUri ?? process.env[addressVariables.mongod]
  if (given) return { uri: given, port: undefined, stop: nothing }
  const found = await findServer('mongod', { print })
  const mongod = await startMongod({ path: found.path, folder, port: ports.mongod })
  print(`MongoDB ${found.version}, a replica set on port ${mongod.port.toString()} (${found.from})`)
  return mongod
}

async function temporalOf({ folder, print, temporalAddress }: ServerOptions, ports: Ports) {
  const given = temporalAddress ?? process.env[addressVariables.temporal]
  if (given) return { address: given, ui: null, ports: undefined, stop: nothing }
  const found = await findServer('temporal', { print })
  const temporal = await startTemporalServer({ path: found.path, folder, ports: ports.temporal })
  print(`Temporal CLI ${found.version}, a dev server at ${temporal.address} (${found.from})`)
  return temporal
}

async function readPorts(file: string): Promise<Ports> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Ports
  } catch {
    return {}
  }
}
