import type { InstallResult } from '../../contracts/install.ts'
import type { ReadinessReport } from '../../contracts/fleet.ts'
import { openKeyring } from '../../keyring/index.ts'
import { startApplication } from './application-process.ts'
import type { Application } from './application-process.ts'
import { count, secondsSince } from './figures.ts'
import { expectThat } from './reporter.ts'
import { sealRecords } from './records.ts'
import type { Digests } from './records.ts'
import { nodes } from './demo-context.ts'
import type { DemoContext } from './demo-context.ts'

/** Two workers, and the first version of the key. */
export async function startFleet({
  stack,
  reporter,
  keyturn,
  workers,
}: DemoContext): Promise<void> {
  await keyturn.run('setup')
  const started = performance.now()
  for (const worker of await Promise.all(nodes.map((node) => stack.startWorker(node)))) {
    workers.set(worker.node, worker)
  }
  const pids = nodes.map((node) => `${node} (pid ${pidOf(workers, node)})`).join(' and ')
  reporter.print(`workers ${pids} are up after ${secondsSince(started)}`)
}

const pidOf = (workers: DemoContext['workers'], node: string) =>
  workers.get(node)?.pid.toString() ?? '?'

/** `pkcs11-init` or `env-init`: through a running worker, as always. */
export async function installVersion(context: DemoContext, version: number): Promise<void> {
  const { stack, reporter, keyturn } = context
  const command = stack.provider === 'pkcs11' ? 'pkcs11-init' : 'env-init'
  const made = await keyturn.run<InstallResult>(command, '--version', version.toString())
  const { active, label, madeBy, probe } = made
  const how = probe?.gcm ? `, AES-GCM probed: IV by ${probe.gcm.ivMode}, wrong tags refused` : ''
  reporter.print(
    `v${version.toString()} is "${label}", ${probe === null ? 'found' : 'made'} by ${madeBy}${how}`,
  )
  reporter.print(active ? 'it is the first, so it is active' : 'v1 stays the active one for now')
  expectThat(
    made.version === version,
    `version ${version.toString()} to be made`,
    `${made.version}`,
  )
}

export interface Sealed {
  readonly digests: Digests
  readonly application: Application
}

/** Seals the records, and starts an application that reads and writes them until the end. */
export async function sealAndServe({
  stack,
  reporter,
  store,
  records,
}: DemoContext): Promise<Sealed> {
  const started = performance.now()
  const keyring = await openKeyring({ config: stack.configPath, node: 'seeder', ephemeral: true })
  const digests = await sealRecords(keyring, store.db, records).finally(() => keyring.close())
  reporter.print(
    `${count(records)} secrets sealed under v1 in ${secondsSince(started)}: ` +
      'P-256 keys in certificates.private_key, tokens in dns_accounts.secrets.api_token',
  )
  const application = await startApplication(stack, 'app-1')
  reporter.print(
    `an application on app-1 (pid ${application.pid.toString()}) reads, writes, inserts from now on`,
  )
  return { digests, application }
}

/** Installs version 2 and verifies that every process of the fleet can use it. */
export async function proveSecondVersion(context: DemoContext): Promise<void> {
  await installVersion(context, 2)
  const report = await context.keyturn.run<ReadinessReport>('verify', '--target', '2')
  const ready = report.nodes.filter((node) => node.ready)
  const names = ready.map(({ node, role }) => `${node} (${role ?? 'no process'})`).join(', ')
  context.reporter.print(`ready: ${names}; each opened the canary and wrapped a proof`)
  expectThat(report.ready, 'every process to be ready for v2', JSON.stringify(report.nodes))
}
