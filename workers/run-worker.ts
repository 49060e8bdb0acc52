import type { ControlDeps } from '../activities/deps.ts'
import { buildId } from '../config/build-id.ts'
import { settingsOf } from '../config/settings.ts'
import { settingsHash } from '../store/settings-hash.ts'
import { temporalEndpoint } from '../config/temporal-endpoint.ts'
import type { Config } from '../contracts/settings.ts'
import { joinFleet } from '../keyring/member.ts'
import type { FleetMember } from '../keyring/membership.ts'
import { openLastingProvider } from '../keyring/open-provider.ts'
import { createLog } from '../observability/log.ts'
import type { KekProvider } from '../providers/provider.ts'
import { reportLongWaits } from '../observability/awaiting.ts'
import { hasTask } from '../store/kek-tasks.ts'
import { addressNotes } from '../store/mongodb-address.ts'
import { withStore } from '../store/store.ts'
import { AuditAnchors } from './audit-anchoring.ts'
import { chainingAudit } from './audit-chaining.ts'
import { BuildRouting } from './build-routing.ts'
import { held } from './held.ts'
import { askingTemporal, connectTemporal } from './hosts.ts'
import type { WorkerRole } from './hosts.ts'
import { workerMetrics } from './metrics.ts'
import { Polling } from './polling.ts'
import { installRuntime } from './runtime.ts'
import { keystoreLook } from './keystore-look.ts'
import { RequiredToken } from './listener/required-token.ts'
import { controlRoles, keyRoles, type KeyDeps, type ServedRoles } from './served-roles.ts'
import { servePages } from './serve-pages.ts'
import type { Outside } from './serve-pages.ts'
import { renewOnHangUp, stopSignal } from './signals.ts'

export interface WorkerProcessOptions {
  config: Config
  node: string
  /** Leaves the roster with a clean stop; a host stays expected. */
  ephemeral: boolean
  roles: readonly WorkerRole[]
  env: NodeJS.ProcessEnv
}

/**
 * One worker process, from its start to a clean stop by SIGTERM or SIGINT.
 *
 * Start: log, the pages' token, metrics, the SDK's runtime; MongoDB; with keys, the HSM's token, then the membership in the
 * fleet (its first heartbeat); Temporal; the queues; the listener. Stop: the queues take no more work and wait until running
 * work has ended, while the pages still answer; then all is closed in reverse order, and leaving the fleet deletes the
 * heartbeat.
 *
 * If the token refuses the PIN or is unreachable, the process stays up, degraded, with `/readyz` 503: a restart loop would
 * lock the token. With the role `control` alone it opens no token, reads no key, and is no member of the fleet: it can
 * neither wrap nor open, so it has nothing to prove.
 */
export async function runWorker(options: WorkerProcessOptions): Promise<void> {
  const { config, node } = options
  const log = createLog({ ...config.log, base: { node, pid: process.pid } })
  const { listen, tokenFile } = config.worker
  const token = tokenFile === undefined ? null : new RequiredToken(tokenFile, log)
  const metrics = await workerMetrics(config.install, node)
  installRuntime(log, metrics.sdkAddress)
  const stop = stopSignal(log)
  // The default handler would end a process without keys, which has no PIN to reread.
  process.on('SIGHUP', () => undefined)
  reportLongWaits((what) => log.warn(`waits for ${what}`))
  for (const note of addressNotes(config.mongodb.uri)) log.warn(note)
  await withStore({ uri: config.mongodb.uri, database: config.mongodb.database }, async (store) => {
    const deps = { config, node, store, metrics: metrics.counts, log }
    const serving = async (served: ServedRoles) =>
      await serve(served, deps, { listening: { listen, token, log }, env: options.env }, stop)
    if (options.roles.every((role) => role === 'control')) {
      await serving(controlRoles(deps, metrics))
    } else {
      await holdingKeys(options, deps, async (keys) => {
        keys.member.on('beat', () => metrics.counts.beat())
        await serving(keyRoles(keys, options.roles, metrics))
      })
    }
  })
  log.info('worker has stopped')
}

async function holdingKeys(
  options: WorkerProcessOptions,
  deps: ControlDeps,
  use: (keys: KeyDeps) => Promise<void>,
): Promise<void> {
  await held(
    // What is wrong with the configuration ends the process; what is wrong with the token only degrades it, and may pass.
    openLastingProvider(options.config, options.env, deps.log),
    (provider) => provider.close(),
    (provider) =>
      held(
        join(options, deps, provider),
        (member) => member.leave(),
        async (member) => {
          provider.onOpened(() => void member.beat().catch(() => undefined))
          const removeHandler = renewOnHangUp(provider, deps.log)
          try {
            await use({ ...deps, provider, member })
          } finally {
            removeHandler()
          }
        },
      ),
  )
}

/** Connects to Temporal and works until the signal. */
async function serve(
  served: ServedRoles,
  deps: ControlDeps,
  outside: Outside,
  stop: AbortSignal,
): Promise<void> {
  const { config, log } = deps
  await held(
    connectTemporal(config),
    (connection) => connection.close(),
    async (connection) => {
      const onForeignTask = (role: WorkerRole, task: string | null) =>
        polling.meetForeign(role, task)
      const routing = new BuildRouting({
        connection,
        store: deps.store,
        build: buildId(),
        log,
        namespace: temporalEndpoint(config).namespace,
        everyMs: config.fleet.heartbeatMs,
      })
      const anchors = new AuditAnchors({
        store: deps.store,
        audit: config.audit,
        node: deps.node,
        log,
      })
      const polling: Polling = new Polling({
        roles: served.roles,
        log,
        everyMs: config.fleet.heartbeatMs,
        firstPauseMs: 2 * config.fleet.leaseMs,
        hasTask: (task) => hasTask(deps.store, task),
        look: chainingAudit(
          keystoreLook(deps.store, { name: config.install, provider: config.kek.provider }),
          { store: deps.store, log, mayChain: () => served.mayChain(), anchors, node: deps.node },
        ),
        open: (role, install) =>
          served.open(connection, {
            role,
            install,
            onForeignTask,
            build: () => routing.begin(install),
          }),
      })
      await askingTemporal(config, () =>
        held(
          polling.begin(),
          async () => {
            routing.close()
            await polling.close()
            await anchors.close()
          },
          () => servePages({ served, polling, deps, outside }, stop),
        ),
      )
    },
  )
}

async function join(
  { config, node, ephemeral }: WorkerProcessOptions,
  { store, log }: ControlDeps,
  provider: KekProvider,
): Promise<FleetMember> {
  return await joinFleet({
    store,
    provider,
    node,
    log,
    install: config.install,
    kind: ephemeral ? 'ephemeral' : 'host',
    role: 'worker',
    timings: config.fleet,
    settingsHash: settingsHash(settingsOf(config)),
  })
}
