import { execFile } from 'node:child_process'
import { loadConfig } from '../config/load-config.ts'
import type { ProviderName } from '../contracts/kek.ts'
import type { ErrorReport } from '../contracts/errors.ts'
import { startStack, type Stack } from '../devstack/stack.ts'
import type { StackSettings } from '../devstack/stack-config.ts'
import { freshFolder } from '../devstack/stack-folder.ts'
import { commandLine, type WorkerProcess } from '../devstack/worker-process.ts'
import { openProvider } from '../keyring/open-provider.ts'
import { createLog } from '../observability/log.ts'
import type { KekProvider } from '../providers/provider.ts'
import type { RotationDoc } from '../store/documents.ts'
import { kekDescriptor, readVersions } from '../store/kek-versions.ts'
import { readRotation } from '../store/rotations.ts'
import { openStore, type Store } from '../store/store.ts'
import { collections, install } from './fill-records.ts'
import { watchIdle } from './machine.ts'
import type { BenchOptions } from './options.ts'

/** The servers, keys and workers of one provider, and this process's own access to the same keys and records. */
export interface Fixture {
  readonly stack: Stack
  readonly store: Store
  readonly provider: KekProvider
  readonly workers: WorkerProcess[]
  /** Runs a command of the product; throws when it does not end with 0 or 6; returns its JSON. */
  readonly keyturn: (...args: string[]) => Promise<Record<string, unknown>>
  /** Kills a worker with SIGKILL and starts another one immediately, as systemd does. */
  killWorker(index: number): Promise<void>
  /** A rotation through Temporal, as an operator starts it. */
  rotate(from: number, to: number, ...flags: string[]): Promise<Rotated>
}

export interface Rotated {
  id: string
  row: RotationDoc
  /** Duration of the phase `rewrap`, including cutting ranges, child workflows and the last page. */
  seconds: number
  rewrapped: number
  perSecond: number
  /** Idle share during the whole command, including the wait of settle. */
  idle: number
  /** Duration of the command, including preflight, verification and the lease that settle waits for. */
  wholeSeconds: number
}

export interface FixtureOptions {
  provider: ProviderName
  options: BenchOptions
  /** Timings of the fleet; short by default. */
  timings?: typeof fleet
  /** Another module than SoftHSM2, for all processes. */
  pkcs11?: { module_path: string; max_sessions: number }
  /** Use these and start none. */
  servers?: { mongoUri: string; temporalAddress: string }
  /** One by default, with one envelope in each record. */
  collections?: StackSettings['collections']
  logLevel?: string
}

/** Short, so that settle's fixed wait for a lease does not fill the run. */
const fleet = { heartbeat: '1s', lease: '3s', expire: '5s' }

export async function withFixture<T>(
  fixtureOptions: FixtureOptions,
  use: (fixture: Fixture) => Promise<T>,
): Promise<T> {
  const { provider, options, timings = fleet, pkcs11, servers, logLevel = 'warn' } = fixtureOptions
  const nodes = Array.from({ length: options.workers }, (_, index) => `bench-${index + 1}`)
  const { page, shards, check } = options
  const stack = await startStack({
    folder: await freshFolder('bench'),
    keep: false,
    provider,
    nodes,
    print: options.print,
    ...servers,
    settings: {
      install,
      database: 'bench',
      collections: fixtureOptions.collections ?? collections,
      fleet: timings,
      logLevel,
      rewrap: { page, shards, check },
      ...(pkcs11 === undefined ? {} : { pkcs11 }),
      removal: { backup_window: '0s', undo_window: '0s' },
    },
  })
  try {
    const keyturn = commandOf(stack)
    await keyturn('setup')
    const workers = await Promise.all(
      nodes.map((node) => stack.startWorker(node, options.workerFlags)),
    )
    for (const version of ['1', '2']) {
      await keyturn(provider === 'env' ? 'env-init' : 'pkcs11-init', '--version', version)
    }
    return await withStoreAndProvider(stack, (access) =>
      use({
        stack,
        workers,
        keyturn,
        ...access,
        rotate: rotateWith(keyturn, access.store),
        killWorker: async (index) => {
          const worker = workers[index]
          if (worker === undefined) throw new Error(`there is no worker ${index}`)
          await worker.process.kill()
          workers[index] = await stack.startWorker(worker.node, options.workerFlags)
        },
      }),
    )
  } finally {
    await stack.stop()
  }
}

async function withStoreAndProvider<T>(
  stack: Stack,
  use: (access: Pick<Fixture, 'store' | 'provider'>) => Promise<T>,
): Promise<T> {
  // The module of a soft token reads it when this process's lanes load the module.
  Object.assign(process.env, stack.keyEnv)
  const config = loadConfig({ file: stack.configPath })
  const { database } = stack.settings
  const store = await openStore({ uri: stack.mongoUri, database })
  try {
    const log = createLog({ level: 'warn', pretty: false })
    const provider = await openProvider(config, stack.env, log)
    try {
      for (const row of await readVersions(store)) {
        const descriptor = kekDescriptor(row)
        if (descriptor !== null) await provider.load(descriptor)
      }
      return await use({ store, provider })
    } finally {
      await provider.close()
    }
  } finally {
    await store.close()
  }
}

function commandOf(stack: Stack): Fixture['keyturn'] {
  return async (...args) => {
    const all = [commandLine(), '--config', stack.configPath, '--json', '--yes', ...args]
    const { code, stdout, stderr } = await new Promise<{
      code: number
      stdout: string
      stderr: string
    }>((resolve) => {
      const child = execFile(process.execPath, all, { env: stack.env }, (_, stdout, stderr) => {
        resolve({ code: child.exitCode ?? 1, stdout, stderr })
      })
    })
    const answer = stdout === '' ? {} : (JSON.parse(stdout) as Record<string, unknown>)
    if (code === 0 || code === 6) return answer
    const { message } = (answer['error'] ?? {}) as Partial<ErrorReport>
    throw new Error(`keyturn ${args.join(' ')} ended with ${code}: ${message ?? stderr}`)
  }
}

function rotateWith(keyturn: Fixture['keyturn'], store: Store): Fixture['rotate'] {
  return async (from, to, ...flags) => {
    const began = performance.now()
    const idle = watchIdle()
    const answer = await keyturn(
      ...['rotate', '--from-version', from.toString(), '--to-version', to.toString()],
      ...flags,
    )
    const id = String(answer['rotationId'])
    const row = await readRotation(store, id)
    const { rewrap, settle } = row?.phases ?? {}
    if (row === null || rewrap === undefined || settle === undefined) {
      throw new Error(`rotation ${id} did not come to settle`)
    }
    const rewrapped = Number(answer['rewrapped'])
    const seconds = (settle.getTime() - rewrap.getTime()) / 1_000
    return {
      id,
      row,
      seconds,
      rewrapped,
      perSecond: rewrapped / seconds,
      idle: idle(),
      wholeSeconds: (performance.now() - began) / 1_000,
    }
  }
}
