import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inject, onTestFinished } from 'vitest'
import { loadConfig } from '../../config/load-config.ts'
import { settingsOf } from '../../config/settings.ts'
import { settingsHash } from '../../store/settings-hash.ts'
import type { Config } from '../../contracts/settings.ts'
import { joinFleet } from '../../keyring/member.ts'
import type { FleetMember, MemberOptions } from '../../keyring/membership.ts'
import { openKeyring, type Keyring, type KeyringOptions } from '../../keyring/keyring.ts'
import { openProvider } from '../../keyring/open-provider.ts'
import { silentLog } from '../../observability/log.ts'
import type { HeartbeatDoc } from '../../store/documents.ts'
import { insertFirstActive } from '../../store/kek-active.ts'
import { claimProvider, insertInstall } from '../../store/kek-install.ts'
import { completeInstall, insertIntent } from '../../store/kek-versions.ts'
import { keystore } from '../../store/keystore.ts'
import { openStore, type Store } from '../../store/store.ts'
import { freshName } from '../support/fresh.ts'

export const secretPlace = { collection: 'secrets', field: 'value', id: 'one' } as const

/** Timings that tests can wait for. `expire` is the TTL of a heartbeat. */
const timings = { heartbeat: '1s', lease: '3s', expire: '5s' }

export interface TestFleet {
  readonly name: string
  readonly store: Store
  readonly configFile: string
  readonly config: Config
  /** The environment of every host; add KEKs to it. */
  readonly env: NodeJS.ProcessEnv
  /** Writes lock, row and canary of a version; the first one becomes active. */
  install(version: number): Promise<void>
  /** Changes the same documents as promote, as far as a keyring reads them. */
  activate(version: number): Promise<void>
  /** Sets or removes a pending removal; `at` is the time of its request. */
  setRemoval(version: number, isPending: boolean, at?: Date): Promise<void>
  keyring(options?: KeyringOptions): Promise<Keyring>
  member(options?: Partial<MemberOptions> & { env?: NodeJS.ProcessEnv }): Promise<FleetMember>
  heartbeats(): Promise<HeartbeatDoc[]>
}

export const envPrefix = 'KEYTURN_ENCRYPTION_ENV_KEK_V'

/** A separate database and install; everything that is opened through it is closed after the test. */
export async function openTestFleet(
  options: { kek?: string; versions?: number[] } = {},
): Promise<TestFleet> {
  const name = freshName('ring')
  const folder = await mkdtemp(join(tmpdir(), 'keyturn-ring-'))
  const configFile = join(folder, 'keyturn.yaml')
  await writeFile(configFile, yamlOf(name, options.kek ?? 'kek: { provider: env }'))
  const env: NodeJS.ProcessEnv = { KEYTURN_MONGODB_URI: inject('mongoUri') }
  for (const version of [1, 2, 3]) env[`${envPrefix}${version}`] = randomBytes(32).toString('hex')
  const config = loadConfig({ file: configFile, env })
  const store = await openStore({ uri: config.mongodb.uri, database: name })
  onTestFinished(async () => {
    await store.db.dropDatabase()
    await store.close()
    await rm(folder, { recursive: true, force: true })
  })
  const fleet: TestFleet = {
    name,
    store,
    configFile,
    config,
    env,
    install: (version) => install(fleet, version),
    activate: (version) => activate(store, version),
    setRemoval: async (version, isPending, at = new Date(0)) => {
      const removal = isPending ? ({ request: 'r', requested_at: at } as never) : null
      await keystore.versions(store).updateOne({ _id: version }, { $set: { removal } })
    },
    keyring: async (options = {}) => {
      const keyring = await openKeyring({ config: configFile, env, log: silentLog, ...options })
      onTestFinished(() => keyring.close())
      return keyring
    },
    member: (options = {}) => joinAs(fleet, options),
    heartbeats: () => keystore.heartbeats(store).find().sort({ _id: 1 }).toArray(),
  }
  for (const version of options.versions ?? [1]) await fleet.install(version)
  return fleet
}

async function install({ name, store, config, env }: TestFleet, version: number): Promise<void> {
  const provider = await openProvider(config, env, silentLog)
  try {
    const { ceremony } = provider
    const label = ceremony.labelOf(version)
    const isPkcs11 = provider.name === 'pkcs11'
    const keyId = isPkcs11 ? randomBytes(16) : null
    const gcm = await ceremony.gcmProfile()
    if (keyId !== null) await ceremony.generate(label, keyId)
    const origin = isPkcs11 ? 'generated' : 'environment'
    const madeBy = 'test'
    await insertInstall(store, { name, created_by: madeBy })
    await claimProvider(store, { name, provider: provider.name, by: madeBy })
    await insertIntent(store, {
      requestedBy: 'alice',
      version,
      provider: provider.name,
      label,
      keyId,
      origin,
      madeBy,
    })
    const canary = await ceremony.makeCanary(version, label, keyId, gcm)
    await completeInstall(
      store,
      version,
      { gcm, canary, label, keyId },
      { requestedBy: 'alice', madeBy },
    )
    await insertFirstActive(store, version)
  } finally {
    await provider.close()
  }
}

async function activate(store: Store, version: number): Promise<void> {
  const at = new Date()
  const before = await keystore.active(store).findOne({ _id: 'active' })
  if (before !== null) {
    await keystore
      .versions(store)
      .updateOne({ _id: before.version }, { $set: { deactivated_at: at } })
  }
  await keystore.versions(store).updateOne({ _id: version }, { $set: { activated_at: at } })
  await keystore
    .active(store)
    .updateOne({ _id: 'active' }, { $set: { version }, $inc: { epoch: 1 } })
}

async function joinAs(
  { name, store, config, env }: TestFleet,
  { env: other, ...options }: Partial<MemberOptions> & { env?: NodeJS.ProcessEnv },
): Promise<FleetMember> {
  const provider = options.provider ?? (await openProvider(config, other ?? env, silentLog))
  onTestFinished(() => provider.close())
  const member = await joinFleet({
    store,
    provider,
    install: name,
    node: 'vm-a',
    kind: 'host',
    role: 'worker',
    timings: config.fleet,
    settingsHash: settingsHash(settingsOf(config)),
    log: silentLog,
    ...options,
  })
  onTestFinished(() => member.leave())
  return member
}

const yamlOf = (name: string, kek: string) => `
install: ${name}
mongodb: { database: ${name} }
${kek}
collections:
  - { name: secrets, envelopes: [value, nested.token] }
fleet: { heartbeat: ${timings.heartbeat}, lease: ${timings.lease}, expire: ${timings.expire} }
`
