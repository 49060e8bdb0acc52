import { fileURLToPath } from 'node:url'
import { inject } from 'vitest'
import { waitUntil } from '../../devstack/wait-until.ts'
import type { Fleet } from './fleet.ts'
import { digestOf, places } from './fleet-records.ts'
import type { Processes, TestProcess } from './processes.ts'

const script = fileURLToPath(new URL('writing-application.mjs', import.meta.url))

/** A seal that was written; `begun` is this machine's time before the seal was requested. */
export interface Written {
  readonly version: number
  readonly begun: number
  readonly id: string
}

/** An application of the fleet in its own process, which seals and writes without end (writing-application.mjs). */
export interface WritingApplication {
  readonly process: TestProcess
  /** All seals that it has written so far. */
  written(): Written[]
  /** Resolves when it has written something that it began at `since` or later; only under `version`, if given. */
  writes(since: number, version?: number): Promise<Written>
  /** Resolves when a seal begun at `since` or later was refused with this code. */
  isRefused(code: string, since: number): Promise<void>
  /** Ends it, and adds what it wrote to the fleet's book. */
  stop(): Promise<void>
}

export interface ApplicationOptions {
  node: string
  /** The fleet's configuration file by default. */
  config?: string
  recordsUri?: string
  /** Prefix of its command. */
  within?: readonly string[]
  isEphemeral?: boolean
}

export async function startApplication(
  fleet: Fleet,
  children: Processes,
  options: ApplicationOptions,
): Promise<WritingApplication> {
  const { node, config = fleet.config, within = [], isEphemeral = false } = options
  const recordsUri = options.recordsUri ?? inject('mongoUri')
  const [command, ...args] = [...within, process.execPath, script] as const
  const child = children.spawn(command, args, {
    env: {
      ...fleet.env,
      KEYTURN_CONFIG: config,
      NODE_NAME: node,
      DATABASE: fleet.install,
      RECORDS_URI: recordsUri,
      IS_EPHEMERAL: `${isEphemeral}`,
    },
  })
  const lines = () => [...child.stdout().matchAll(/^wrote (\d+) (\d+) (\S+) (\S+)$/gm)]
  const written = () =>
    lines().map(([, version, begun, id = '']) => {
      return { version: Number(version), begun: Number(begun), id }
    })
  await child.line(/^wrote /)
  return {
    process: child,
    written,
    writes: (since, version) =>
      waitUntil(
        `${node} writes nothing`,
        () => {
          const found = written().findLast(
            (one) => one.begun >= since && (version === undefined || one.version === version),
          )
          return found ?? null
        },
        { withinMs: 60_000 },
      ),
    async isRefused(code, since) {
      const isTold = () =>
        [...child.stdout().matchAll(/^refused (\S+) (\d+)$/gm)].some(
          ([, said, begun]) => said === code && Number(begun) >= since,
        )
      await waitUntil(`${node} is not refused with ${code}`, isTold, { withinMs: 60_000 })
    },
    async stop() {
      child.process.signal('SIGTERM')
      await child.exit()
      for (const [, , , id = '', data = ''] of lines()) {
        const key = fleet.records.keyOf(places[0], id)
        fleet.records.book.set(key, { plaintext: digestOf(`secret of ${id}`), data })
      }
    },
  }
}
