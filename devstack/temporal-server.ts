import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { KeyturnError } from '../contracts/errors.ts'
import { searchAttributes } from '../contracts/names.ts'
import { freePort } from '../workers/free-port.ts'
import { isListening } from './is-listening.ts'
import { spawnSupervised } from './supervised-child.ts'
import type { SupervisedChild } from './supervised-child.ts'
import { lastLine, runCommand } from './servers/run-command.ts'
import { waitUntil } from './wait-until.ts'

export interface TemporalServer {
  readonly address: string
  /** Null when it runs without the web UI. */
  readonly ui: string | null
  readonly process: SupervisedChild
  readonly ports: TemporalPorts
  stop(): Promise<void>
}

export interface TemporalPorts {
  readonly grpc: number
  readonly ui: number
}

const startMs = 60_000
/** The dev server's default is a day; a rotation should still be visible a month later. */
export const retention = '30d'

/**
 * Without the first, a timer of 100 ms takes a second; the next two let one chain of activities run at full speed. Each
 * keystore is its own deployment, and the default limit of a namespace is a hundred.
 */
export const dynamicConfig = [
  'history.timerProcessorMaxTimeShift="50ms"',
  'history.transferProcessorMaxPollRPS=1000',
  'history.timerProcessorMaxPollRPS=1000',
  'matching.maxDeployments=100000',
]

/**
 * Starts Temporal's dev server with its database in `folder`, Keyturn's search attributes registered, on free ports of
 * the loopback address. It ignores the user's own Temporal configuration.
 */
export async function startTemporalServer(options: {
  path: string
  folder: string
  ports?: TemporalPorts | undefined
  ui?: boolean
  /** Beside `dynamicConfig`. */
  settings?: readonly string[]
}): Promise<TemporalServer> {
  await mkdir(options.folder, { recursive: true })
  const ports = await portsOf(options.ports)
  const logFile = join(options.folder, 'temporal.log')
  const ui = options.ui ?? true
  const process = spawnSupervised({
    command: options.path,
    // prettier-ignore
    args: ['server', 'start-dev', '--ip', '127.0.0.1', '--port', ports.grpc.toString(),
      ...(ui ? ['--ui-port', ports.ui.toString(), '--ui-disable-news-fetch'] : ['--headless']),
      '--db-filename', join(options.folder, 'temporal.db'), '--log-level', 'warn', '--disable-config-file', '--disable-config-env',
      ...Object.values(searchAttributes).flatMap((name) => ['--search-attribute', `${name}=Keyword`]),
      ...[...dynamicConfig, ...(options.settings ?? [])].flatMap((value) => ['--dynamic-config-value', value])],
    logFile,
  })
  const address = `127.0.0.1:${ports.grpc.toString()}`
  try {
    await becomeReady(process, options.path, address, ports.grpc, logFile)
  } catch (error) {
    await process.kill()
    throw error
  }
  return {
    address,
    ui: ui ? `http://127.0.0.1:${ports.ui.toString()}` : null,
    process,
    ports,
    stop: async () => {
      await process.stop()
    },
  }
}

async function portsOf(wished: TemporalPorts | undefined): Promise<TemporalPorts> {
  if (wished && !(await isListening(wished.grpc)) && !(await isListening(wished.ui))) return wished
  return { grpc: await freePort(), ui: await freePort() }
}

/** The server is ready when it accepts the namespace's retention: that call goes through its front end and its database. */
async function becomeReady(
  process: SupervisedChild,
  path: string,
  address: string,
  port: number,
  logFile: string,
): Promise<void> {
  let lastError = ''
  const ended = () => {
    if (!process.hasEnded()) return
    throw new KeyturnError('server-missing', 'temporal ended while starting', {
      hint: `its log is ${logFile}`,
    })
  }
  const listening = async () => {
    ended()
    return isListening(port)
  }
  await waitUntil(`temporal at ${address} does not listen (${logFile})`, listening, {
    withinMs: startMs,
  })
  const args = ['operator', 'namespace', 'update', '--namespace', 'default']
  const set = async () => {
    ended()
    const end = await runCommand(path, [...args, '--retention', retention, '--address', address], {
      timeoutMs: 10_000,
    })
    lastError = lastLine(end.stderr)
    return end.code === 0
  }
  await waitUntil(`temporal at ${address} is not ready: "${lastError}"`, set, { withinMs: startMs })
}
