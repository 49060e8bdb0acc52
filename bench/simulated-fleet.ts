import { DefaultLogger, Runtime, Worker } from '@temporalio/worker'
import type { NativeConnection } from '@temporalio/worker'
import { createNodeActivities } from '../activities/index.ts'
import { loadConfig } from '../config/load-config.ts'
import { settingsOf } from '../config/settings.ts'
import { settingsHash } from '../store/settings-hash.ts'
import { queues, type InstallIdentity } from '../contracts/names.ts'
import type { Config } from '../contracts/settings.ts'
import { requireIdentity } from '../activities/settings.ts'
import { joinFleet } from '../keyring/member.ts'
import type { FleetMember } from '../keyring/membership.ts'
import { createLog } from '../observability/log.ts'
import { createMetrics } from '../observability/metrics.ts'
import { connectTemporal } from '../workers/hosts.ts'
import { install } from './fill-records.ts'
import type { Fixture } from './fixture.ts'

/** Every third host has a worker, which verify reaches by its queue; the others are applications, which answer by heartbeat. */
const workerEvery = 3

/** The processes that a rotation of the bench meets. */
export interface BenchFleet {
  readonly size: number
  /** Memory of one process; null when all are in this process. */
  readonly megabytesEach: number | null
  /** Calls it with the time at which a process follows a switch, in ms. */
  onSwitched(listener: (at: number) => void): void
  close(): Promise<void>
}

interface Host {
  member: FleetMember
  close(): Promise<void>
}

/** Many hosts in this process: real members that send heartbeats and prove keys, each under its own node name. */
export async function joinHosts(fixture: Fixture, count: number): Promise<BenchFleet> {
  const config = loadConfig({ file: fixture.stack.configPath })
  Runtime.install({ logger: new DefaultLogger('ERROR') })
  const connection = await connectTemporal(config)
  const identity = await requireIdentity(fixture.store)
  const hosts: Host[] = []
  for (let at = 0; at < count; at += 1) {
    hosts.push(await joinHost(fixture, config, connection, { at, identity }))
  }
  return {
    size: count,
    megabytesEach: null,
    onSwitched(listener) {
      for (const { member } of hosts) member.on('version-switched', () => listener(Date.now()))
    },
    async close() {
      await Promise.all(hosts.map((host) => host.close()))
      await connection.close()
    },
  }
}

async function joinHost(
  { store, provider }: Fixture,
  config: Config,
  connection: NativeConnection,
  { at, identity }: { at: number; identity: InstallIdentity },
): Promise<Host> {
  const log = createLog({ level: 'error', pretty: false })
  const node = `vm-${at.toString().padStart(3, '0')}`
  const isWorker = at % workerEvery === 0
  const member = await joinFleet({
    store,
    provider,
    install,
    node,
    kind: 'host',
    role: isWorker ? 'worker' : 'app',
    log,
    timings: config.fleet,
    settingsHash: settingsHash(settingsOf(config)),
  })
  if (!isWorker) return { member, close: () => member.leave() }
  const metrics = createMetrics({ install, node, processMetrics: false })
  const worker = await Worker.create({
    connection,
    namespace: 'default',
    taskQueue: queues.node(identity, node),
    activities: createNodeActivities({ config, node, store, provider, member, metrics, log }),
    maxConcurrentActivityTaskPolls: 1,
  })
  const running = worker.run()
  return {
    member,
    async close() {
      worker.shutdown()
      await running
      await member.leave()
    },
  }
}
