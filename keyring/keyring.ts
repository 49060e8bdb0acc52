import { hostname } from 'node:os'
import type { MongoClient } from 'mongodb'
import { loadConfig } from '../config/load-config.ts'
import { settingsOf } from '../config/settings.ts'
import { settingsHash } from '../store/settings-hash.ts'
import { KeyturnError } from '../contracts/errors.ts'
import type { Config } from '../contracts/settings.ts'
import type { Envelope } from '../envelope/envelope.ts'
import type { Place } from '../envelope/place.ts'
import { createLog, logOf, type Log } from '../observability/log.ts'
import { createMetrics } from '../observability/metrics.ts'
import { openStore } from '../store/store.ts'
import { joinFleet } from './member.ts'
import type { MemberEventName, MemberListener } from './member-events.ts'
import { openAll, type OpenRequest } from './open.ts'
import { openLastingProvider } from './open-provider.ts'
import { sealAll, type KeyringParts, type SealRequest } from './seal.ts'

export interface KeyringOptions {
  /** Path of the configuration; else `KEYTURN_CONFIG`, `./keyturn.yaml`, `/etc/keyturn/keyturn.yaml`. */
  config?: string
  /** The application's own client: used for the keystore, never closed. Else one is made from the configuration. */
  client?: MongoClient
  /** Name of this host in the fleet; default its host name. */
  node?: string
  /** A process of a node that comes and goes (a pod): it is not expected back after it has stopped. */
  ephemeral?: boolean
  /** Where secrets and overrides are read; default `process.env`. */
  env?: NodeJS.ProcessEnv
  /** Default: warnings and errors only, on stderr. */
  log?: Log
}

/**
 * Seals and opens envelopes as a member of the fleet. It sends heartbeats, proves its keys and follows the active version by
 * itself. All methods reject with `pool-closed` after `close`.
 */
export interface Keyring {
  /** Seals under a fresh data key, wrapped under the active version. Throws lease-expired without a valid lease. */
  seal(plaintext: Uint8Array | string, place: Place): Promise<Envelope>
  sealMany(requests: readonly SealRequest[]): Promise<Envelope[]>
  /** The plaintext. Throws envelope-unreadable, malformed, wrong-provider, kek-not-loaded. */
  open(envelope: unknown, place: Place): Promise<Buffer>
  /** For each envelope its plaintext or its error. */
  openMany(requests: readonly OpenRequest[]): Promise<(Buffer | KeyturnError)[]>
  /** The version that new envelopes are sealed under. Throws not-installed. */
  active(): number
  on<E extends MemberEventName>(event: E, listener: MemberListener<E>): void
  /** Metrics of this keyring as a Prometheus page: wraps, lease, versions, heartbeat age, the provider's calls. */
  metrics(): Promise<string>
  close(): Promise<void>
}

/**
 * Opens the keyring of this process and writes its first heartbeat. It also opens on a database without an installed version,
 * and on a host that cannot use the active version, so that `verify` can name the host; sealing then fails.
 *
 * It also opens while the key store is unavailable (no module, no token, a token that does not answer, a refused PIN): `seal`
 * and `open` reject with that reason, the log has it once, and the key store is tried again until it opens. A refused PIN is
 * not tried again in this process until another PIN is configured. Throws errors of the configuration.
 */
export async function openKeyring(options: KeyringOptions = {}): Promise<Keyring> {
  const env = options.env ?? process.env
  const config = loadConfig({
    env,
    ...(options.config === undefined ? {} : { file: options.config }),
  })
  const node = options.node ?? hostname()
  const log = logOf(options.log ?? defaultLog(config), 'keyring', { node })
  const provider = await openLastingProvider(config, env, log)
  try {
    const { uri, database } = config.mongodb
    const { client } = options
    const store = await openStore({ uri, database, ...(client === undefined ? {} : { client }) })
    try {
      const member = await joinFleet({
        store,
        provider,
        install: config.install,
        node,
        role: 'app',
        log,
        kind: options.ephemeral === true ? 'ephemeral' : 'host',
        timings: config.fleet,
        settingsHash: settingsHash(settingsOf(config)),
      })
      provider.onOpened(() => void member.beat().catch(() => undefined))
      const close = async () => {
        await member.leave()
        await provider.close()
        await store.close()
      }
      return keyringOf(config, { install: config.install, provider, member }, close)
    } catch (error) {
      await store.close()
      throw error
    }
  } catch (error) {
    await provider.close()
    throw error
  }
}

function keyringOf(config: Config, parts: KeyringParts, close: () => Promise<void>): Keyring {
  const { member } = parts
  const requireConfigured = placeCheck(config)
  const metrics = createMetrics({ install: parts.install, node: member.node })
  member.on('beat', () => metrics.beat())
  let isClosed: Promise<void> | null = null
  const use = <T>(run: () => Promise<T>): Promise<T> =>
    isClosed === null
      ? run()
      : Promise.reject(new KeyturnError('pool-closed', 'the keyring is closed'))
  const sealMany = (requests: readonly SealRequest[]) =>
    use(async () => {
      for (const { place } of requests) requireConfigured(place)
      const envelopes = await sealAll(parts, requests)
      for (const { kek_version } of envelopes) metrics.countWraps(kek_version, 1)
      return envelopes
    })
  const openMany = (requests: readonly OpenRequest[]) => use(() => openAll(parts, requests))
  return {
    seal: async (plaintext, place) => only(await sealMany([{ plaintext, place }])),
    sealMany,
    open: async (envelope, place) => {
      const opened = only(await openMany([{ envelope, place }]))
      if (opened instanceof KeyturnError) throw opened
      return opened
    },
    openMany,
    active() {
      const { active } = member.state()
      if (active !== null) return active.version
      throw new KeyturnError('not-installed', 'no version is active in this database yet')
    },
    on: (event, listener) => member.on(event, listener),
    metrics: async () => {
      const { active, loaded, leaseOk, degraded } = member.state()
      metrics.setMember({ active, loaded, leaseOk, degraded: degraded !== null })
      metrics.setProvider(parts.provider.stats())
      return metrics.render()
    },
    close: () => (isClosed ??= close()),
  }
}

/** Refuses places that are not configured: no rotation would find their envelopes, and they would be lost with their key. */
function placeCheck({ collections, file }: Config): (place: Place) => void {
  const known = new Set(
    collections.flatMap(({ name, envelopes }) => envelopes.map((field) => `${name}\0${field}`)),
  )
  return ({ collection, field }) => {
    if (known.has(`${collection}\0${field}`)) return
    throw new KeyturnError(
      'config-invalid',
      `no envelope is configured at "${collection}: ${field}"`,
      {
        hint: `add it to collections in ${file}, then run: keyturn setup`,
      },
    )
  }
}

function only<T>(values: readonly T[]): T {
  const [value] = values
  if (value === undefined) throw new Error('one request had no result')
  return value
}

function defaultLog({ log: { level, pretty } }: Config): Log {
  return createLog({ level: level === 'silent' ? level : 'warn', pretty })
}
