import type { Worker } from '@temporalio/worker'
import { settingsHash, settingsOf } from '../config/settings.ts'
import { KeyturnError } from '../contracts/errors.ts'
import type { Config } from '../contracts/settings.ts'
import { absentProvider } from '../keyring/absent-provider.ts'
import { joinFleet } from '../keyring/fleet-member.ts'
import type { FleetMember } from '../keyring/fleet-member.ts'
import { openProvider } from '../keyring/open-provider.ts'
import { createLog } from '../observability/log.ts'
import type { Log } from '../observability/log.ts'
import type { KekProvider } from '../providers/provider.ts'
import { withStore } from '../store/store.ts'
import type { Store } from '../store/store.ts'
import { openHealthPages } from './health.ts'
import { connectTemporal, createHosts } from './hosts.ts'
import type { WorkerRole } from './hosts.ts'
import { workerMetrics } from './metrics.ts'
import { installRuntime } from './runtime.ts'

export interface WorkerProcessOptions {
  config: Config
  node: string
  /** Leaves the roster with a clean stop; a host stays expected. */
  ephemeral: boolean
  roles: readonly WorkerRole[]
  env: NodeJS.ProcessEnv
}

/**
 * One worker process: opens what it needs in order, runs until SIGTERM or SIGINT, and closes in the opposite order.
 * Resolves after a clean stop. A token that refuses the PIN or is away leaves it up, degraded, `/readyz` 503: a restart
 * loop would lock the token.
 */
export async function runWorker(options: WorkerProcessOptions): Promise<void> {
  const { config, node, env } = options
  const log = createLog({ ...config.log, base: { node, pid: process.pid } })
  const isKeyless = options.roles.every((role) => role === 'control')
  // Who works with keys answers for itself when verify asks.
  const roles: WorkerRole[] = isKeyless
    ? ['control']
    : [...new Set([...options.roles, 'node' as const])]
  const metrics = await workerMetrics(config.install, node)
  installRuntime(log, metrics.sdkAddress)
  const stop = stopSignal(log)
  await withStore({ uri: config.mongodb.uri, database: config.mongodb.database }, (store) =>
    held(
      isKeyless ? keyless(config) : openOrDegrade(config, env, log),
      (provider) => provider.close(),
      (provider) =>
        held(
          join(options, isKeyless, store, provider, log),
          (member) => member.leave(),
          (member) =>
            held(
              connectTemporal(config),
              (connection) => connection.close(),
              async (connection) => {
                member.on('beat', () => metrics.counts.beat())
                const deps = { config, node, store, provider, member, metrics: metrics.counts, log }
                const hosts = await createHosts(deps, connection, roles)
                const sources = {
                  notReady: () => (isKeyless ? null : notReady(member)),
                  metrics: () => metrics.render(member, provider),
                }
                await held(
                  openHealthPages(config.worker.listen, sources, log),
                  (pages) => pages.close(),
                  async (pages) => {
                    log.info({ roles, listen: pages.address, ...told(member) }, 'worker is up')
                    await runUntil(stop, hosts)
                  },
                )
              },
            ),
        ),
    ),
  )
  log.info('worker has stopped')
}

/** Bracket: what was opened is closed, whatever happens in between. */
async function held<T>(
  opening: Promise<T>,
  close: (resource: T) => Promise<void>,
  use: (resource: T) => Promise<void>,
): Promise<void> {
  const resource = await opening
  try {
    await use(resource)
  } finally {
    await close(resource)
  }
}

/** Runs all hosts until the signal; one that ends by itself takes the others with it. */
async function runUntil(stop: AbortSignal, hosts: readonly Worker[]): Promise<void> {
  const shutDown = () => {
    for (const host of hosts) if (host.getState() === 'RUNNING') host.shutdown()
  }
  stop.addEventListener('abort', shutDown, { once: true })
  const runs = hosts.map(async (host) => await host.run().finally(shutDown))
  if (stop.aborted) shutDown()
  const ends = await Promise.allSettled(runs)
  const failed = ends.find((end) => end.status === 'rejected')
  if (failed !== undefined) throw failed.reason
}

function stopSignal(log: Log): AbortSignal {
  const controller = new AbortController()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (!controller.signal.aborted) log.info({ signal }, 'stopping after the pages in flight')
      controller.abort()
    })
  }
  return controller.signal
}

/** What is wrong with the configuration ends the process; what is wrong with the token only degrades it. */
async function openOrDegrade(
  config: Config,
  env: NodeJS.ProcessEnv,
  log: Log,
): Promise<KekProvider> {
  try {
    return await openProvider(config, env, log)
  } catch (error) {
    if (!(error instanceof KeyturnError) || error.exitCode !== 4) throw error
    log.error({ code: error.code, hint: error.hint }, `degraded: ${error.message}`)
    return absentProvider(config.kek.provider, error)
  }
}

/** A control node without an HSM: it decides, and leaves all work with keys to others (which its errors ask for). */
async function keyless({ kek: { provider } }: Config): Promise<KekProvider> {
  const error = new KeyturnError('kek-not-loaded', 'this control node holds no keys', {
    hint: 'start a worker with --roles rewrap,node on a host that has them',
  })
  return Promise.resolve(absentProvider(provider, error))
}

async function join(
  { config, node, ephemeral }: WorkerProcessOptions,
  isKeyless: boolean,
  store: Store,
  provider: KekProvider,
  log: Log,
): Promise<FleetMember> {
  return await joinFleet({
    store,
    provider,
    node,
    log,
    install: config.install,
    kind: ephemeral ? 'ephemeral' : 'host',
    role: 'worker',
    isKeyless,
    timings: config.fleet,
    settingsHash: settingsHash(settingsOf(config)),
  })
}

function notReady(member: FleetMember): string | null {
  const { degraded, leaseOk } = member.state()
  if (degraded !== null) return `${degraded.reason}: ${degraded.message}`
  return leaseOk ? null : 'lease-expired: no heartbeat reached MongoDB in time'
}

function told(member: FleetMember) {
  const { installed, active, loaded, degraded } = member.state()
  return { installed, active: active?.version ?? null, loaded, degraded: degraded?.reason ?? null }
}
