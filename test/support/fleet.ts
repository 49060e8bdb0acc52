import { randomBytes } from 'node:crypto'
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Client, Connection } from '@temporalio/client'
import { inject } from 'vitest'
import { stringify } from 'yaml'
import { spawnSupervised } from '../../devstack/supervised-child.ts'
import { waitUntil } from '../../devstack/wait-until.ts'
import { workflowIds } from '../../contracts/names.ts'
import type { ErrorReport } from '../../contracts/errors.ts'
import type { FleetNode, ReadinessNode } from '../../contracts/fleet.ts'
import type { ProviderName } from '../../contracts/kek.ts'
import type { Guard } from '../../contracts/views.ts'
import type { Counters } from '../../contracts/rotation.ts'
import type { RotationView } from '../../contracts/views.ts'
import { openKeyring } from '../../keyring/index.ts'
import type { Keyring } from '../../keyring/index.ts'
import { countVersions } from '../../store/census.ts'
import type { InstallIdentity } from '../../contracts/names.ts'
import { readActive } from '../../store/kek-active.ts'
import { identityOf, readInstall } from '../../store/kek-install.ts'
import { runningRotation } from '../../store/rotations.ts'
import { sumCounters } from '../../store/rewrap-ranges.ts'
import { openStore } from '../../store/store.ts'
import type { Store } from '../../store/store.ts'
import { fleetEvidence, keepEvidence, offerEvidence } from './evidence.ts'
import { fleetNodes } from './fleet-nodes.ts'
import type { FleetNodes } from './fleet-nodes.ts'
import { places, recordsOf } from './fleet-records.ts'
import type { Records } from './fleet-records.ts'
import { freshName } from './fresh.ts'
import { makeToken } from './softhsm.ts'
import { WarmCli, type CommandOutput } from './warm-cli.ts'
import type { TestToken } from './softhsm.ts'

/** The result of a command. */
export interface CliEnd {
  code: number | null
  stdout: string
  stderr: string
  /** Of stdout; an empty object when there is none. */
  json: CliJson
}

/** Members of the commands' JSON that tests read; which are present depends on the command. */
export interface CliJson {
  readonly error: ErrorReport
  readonly outcome: string
  readonly rotationId: string
  readonly to: number
  readonly rewrapped: number
  readonly superseded: number
  readonly remaining: number
  readonly hsmCalls: number
  readonly dueAt: string
  readonly guards: readonly Guard[]
  readonly nodes: readonly (ReadinessNode & FleetNode)[]
  readonly rotation: RotationView
  /** Of `audit list`. */
  readonly entries: readonly { action: string }[]
  readonly [name: string]: unknown
}

/** A running command. */
export interface RunningCli {
  readonly pid: number
  /** What it has written to stderr so far. */
  stderr(): string
  signal(signal: NodeJS.Signals): void
  end(): Promise<CliEnd>
}

export interface FleetOptions {
  provider: ProviderName
  /** Its name, which is also its database; a fresh one by default. */
  install?: string
  /** Nodes whose workers are started; vm-a and vm-b by default. */
  nodes?: readonly string[]
  /** Versions that are installed; 1 and 2 by default. */
  versions?: readonly number[]
  temporalAddress?: string
  /** Instead of the server that the whole run shares. */
  mongoUri?: string
  /** Instead of SoftHSM2 itself: the fault module over it. */
  modulePath?: string
  /** Further variables of all its processes. */
  env?: NodeJS.ProcessEnv
  /** Overrides of the fleet's keyturn.yaml, member by member. */
  config?: Record<string, object>
}

/** A fleet with its own install, database and token: real workers, and the command line to steer it. */
export interface Fleet {
  readonly provider: ProviderName
  readonly install: string
  /** As `setup` recorded it. */
  readonly identity: InstallIdentity
  readonly folder: string
  readonly config: string
  readonly env: NodeJS.ProcessEnv
  readonly token: TestToken | null
  readonly store: Store
  readonly temporal: Client
  readonly nodes: FleetNodes
  readonly records: Records
  /** Keys of the `env` provider, by version; random, in the environment of every process. */
  readonly envKeys: ReadonlyMap<number, Buffer>
  /** The output of all its commands so far. */
  transcript(): string
  cli(...args: readonly string[]): Promise<CliEnd>
  /** Throws when the command does not end with 0; returns its JSON. */
  must(...args: readonly string[]): Promise<CliEnd['json']>
  start(...args: readonly string[]): RunningCli
  installVersion(version: number): Promise<void>
  /** Runs `use` with an application of the fleet in this process. */
  withKeyring<T>(use: (keyring: Keyring) => Promise<T>): Promise<T>
  fill(count: number): Promise<void>
  /** Opens and compares all records; returns the number of envelopes by version. */
  verifyRecords(options?: { except?: ReadonlySet<string> }): Promise<Record<number, number>>
  /** Envelopes by version, raw. */
  census(): Promise<Record<number, number>>
  active(): Promise<number>
  /** Counters of the running rotation; zeros when none runs. */
  counters(): Promise<Counters>
  /** Resolves when the running rotation has re-wrapped so many. */
  rewrapped(count: number): Promise<void>
  until<T>(what: string, ask: () => Promise<T | false | null>, withinMs?: number): Promise<T>
  rotateWorkflow(): ReturnType<Client['workflow']['getHandle']>
  /** Writes another keyturn.yaml for this fleet, with `changes` applied member by member. */
  writeConfig(name: string, changes: Record<string, object>): Promise<string>
  close(): Promise<void>
}

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const variablePrefix = 'KEYTURN_ENCRYPTION_ENV_KEK_V'
const readyVersions = [1, 2, 3, 4]

/** Opens a fleet in the order of a real installation: setup, workers, versions. `close` ends everything. */
export async function openFleet(options: FleetOptions): Promise<Fleet> {
  const folder = await stateFolder()
  const token = options.provider === 'pkcs11' ? await makeToken() : null
  // The keyring of this process loads the module here.
  if (token !== null) process.env['SOFTHSM2_CONF'] = token.conf
  const install = options.install ?? freshName('attack')
  const envKeys = new Map(readyVersions.map((version) => [version, randomBytes(32)]))
  const keys: NodeJS.ProcessEnv =
    token === null
      ? Object.fromEntries(
          [...envKeys].map(([version, key]) => [
            `${variablePrefix}${version}`,
            key.toString('hex'),
          ]),
        )
      : { SOFTHSM2_CONF: token.conf }
  const env = { ...keys, ...options.env }
  const address = options.temporalAddress ?? inject('temporalAddress')
  const mongoUri = options.mongoUri ?? inject('mongoUri')
  const base = configOf({ install, token, address, mongoUri, modulePath: options.modulePath })
  const writeConfig = async (name: string, changes: Record<string, object> = {}) => {
    const file = join(folder, `${name}.yaml`)
    await writeFile(file, stringify(merged(base, changes)), { mode: 0o600 })
    return file
  }
  const config = await writeConfig('keyturn', options.config)
  const store = await openStore({ uri: mongoUri, database: install })
  const connection = await Connection.connect({ address })
  const nodes = fleetNodes({ folder, config, env })
  const warm = new WarmCli(env)
  const temporal = new Client({ connection })
  const withdraw = offerEvidence(fleetEvidence({ install, folder, temporal }))
  const fleet = fleetOf({
    provider: options.provider,
    install,
    folder,
    config,
    env,
    token,
    store,
    nodes,
    envKeys,
    temporal,
    records: recordsOf(store),
    writeConfig,
    warm,
    async close() {
      warm.close()
      await nodes.close()
      await withdraw()
      await connection.close()
      // KEYTURN_KEEP_FLEET keeps the database and the files, to examine a failure.
      if (process.env['KEYTURN_KEEP_FLEET'] === undefined) {
        await store.db.dropDatabase()
        await rm(folder, { recursive: true, force: true })
      }
      await store.close()
      await token?.remove()
    },
  })
  try {
    await fleet.must('setup')
    await fleet.learnIdentity()
    await Promise.all((options.nodes ?? ['vm-a', 'vm-b']).map((node) => nodes.start(node)))
    for (const version of options.versions ?? [1, 2]) await fleet.installVersion(version)
    return fleet
  } catch (error) {
    await keepEvidence(`${install} does not open`)
    await fleet.close()
    throw error
  }
}

/** Members that only `openFleet` needs. */
interface Opening {
  learnIdentity(): Promise<void>
}

type Parts = Pick<
  Fleet,
  | 'provider'
  | 'install'
  | 'folder'
  | 'config'
  | 'env'
  | 'token'
  | 'store'
  | 'temporal'
  | 'nodes'
  | 'records'
  | 'envKeys'
  | 'writeConfig'
  | 'close'
> & { warm: WarmCli }

function fleetOf(parts: Parts): Fleet & Opening {
  const { config, env, store, temporal, install, provider, records, warm } = parts
  const collections = places.map(({ collection, field }) => ({
    name: collection,
    envelopes: [field],
  }))
  const until: Fleet['until'] = (what, ask, withinMs = 60_000) =>
    waitUntil(what, ask, { withinMs, everyMs: 100 })
  const globals = (args: readonly string[]) => {
    const named = args.includes('--config') ? [] : ['--config', config]
    return [...named, '--json', '--yes', ...args]
  }
  let transcript = ''
  let identity: InstallIdentity = { name: install, id: '' }
  const fleet: Fleet & Opening = {
    ...parts,
    until,
    get identity() {
      return identity
    },
    async learnIdentity() {
      const row = await readInstall(store)
      if (row !== null) identity = identityOf(row)
    },
    transcript: () => transcript,
    start: (...args) =>
      startCli(globals(args), env, (output) => {
        transcript += output
      }),
    async cli(...args) {
      const output = await warm.run(globals(args))
      transcript += output.stdout + output.stderr
      return endOf(output)
    },
    async must(...args) {
      const { code, json, stdout, stderr } = await fleet.cli(...args)
      if (code === 0) return json
      throw new Error(`keyturn ${args.join(' ')} ended with ${code}: ${stdout}\n${stderr}`)
    },
    async installVersion(version) {
      await fleet.must(provider === 'env' ? 'env-init' : 'pkcs11-init', '--version', `${version}`)
    },
    async withKeyring(use) {
      const keyring = await openKeyring({
        config,
        node: freshName('app'),
        ephemeral: true,
        env: { ...process.env, ...env },
      })
      try {
        return await use(keyring)
      } finally {
        await keyring.close()
      }
    },
    fill: (count) => fleet.withKeyring((keyring) => records.fill(keyring, count)),
    verifyRecords: (options) => fleet.withKeyring((keyring) => records.verify(keyring, options)),
    census: async () => (await countVersions(store, collections)).byVersion,
    async active() {
      const active = await readActive(store)
      if (active === null) throw new Error('nothing is active')
      return active.version
    },
    async counters() {
      const row = await runningRotation(store)
      return await sumCounters(store, row?._id ?? '')
    },
    async rewrapped(count) {
      await until(`${count} envelopes are not re-wrapped`, async () => {
        return (await fleet.counters()).rewrapped >= count
      })
    },
    rotateWorkflow: () => temporal.workflow.getHandle(workflowIds.rotate(identity)),
  }
  return fleet
}

function startCli(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  record: (output: string) => void,
): RunningCli {
  const supervised = spawnSupervised({
    command: process.execPath,
    args: [main, ...args],
    env: { ...process.env, ...env, NO_COLOR: '1' },
  })
  let stdout = ''
  let stderr = ''
  supervised.child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  supervised.child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const closed = new Promise((resolve) => supervised.child.once('close', resolve))
  return {
    pid: supervised.pid,
    stderr: () => stderr,
    signal: (signal) => supervised.signal(signal),
    async end() {
      await closed
      const { code } = await supervised.ended
      record(stdout + stderr)
      return endOf({ code, stdout, stderr })
    },
  }
}

function endOf(output: CommandOutput): CliEnd {
  return { ...output, json: (output.stdout === '' ? {} : JSON.parse(output.stdout)) as CliJson }
}

function configOf(options: {
  install: string
  token: TestToken | null
  address: string
  mongoUri: string
  modulePath: string | undefined
}): object {
  const { install, token, address, mongoUri, modulePath } = options
  const pkcs11 = token && {
    module_path: modulePath ?? token.modulePath,
    token_label: token.label,
    pin_file: token.pinFile,
    max_sessions: 2,
  }
  return {
    install,
    mongodb: { uri: mongoUri, database: install },
    temporal: { address },
    kek: { provider: token === null ? 'env' : 'pkcs11', ...(pkcs11 === null ? {} : { pkcs11 }) },
    collections: places.map(({ collection, field }) => ({ name: collection, envelopes: [field] })),
    fleet: { heartbeat: '1s', lease: '4s', expire: '6s' },
    rewrap: { page: 50, shards: 2 },
    removal: { backup_window: '0s', undo_window: '0s' },
    worker: { listen: '127.0.0.1:0', shutdown_grace: '3s' },
    log: { level: 'debug', pretty: false },
  }
}

function merged(base: object, changes: Record<string, object>): object {
  const result: Record<string, object> = { ...base }
  for (const [name, value] of Object.entries(changes)) {
    result[name] = Array.isArray(value) ? value : { ...result[name], ...value }
  }
  return result
}

/** Inside the repository, and ignored by git. */
async function stateFolder(): Promise<string> {
  await mkdir('.keyturn', { recursive: true })
  return mkdtemp(join(process.cwd(), '.keyturn', 'fleet-'))
}
