import { inWords } from '../../contracts/durations.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import type { Config } from '../../contracts/settings.ts'
import { proveMajority, readMembers } from '../../store/majority.ts'
import { lostError } from '../../store/collections.ts'
import { indexFaults } from '../../store/index-faults.ts'
import { indexMissing } from '../../store/indexes.ts'
import { readHeartbeats } from '../../store/process-heartbeats.ts'
import { proveKillSessions } from '../../store/sessions.ts'
import { serverNow } from '../../store/store.ts'
import { settingsOf } from '../../config/settings.ts'
import { settingsHash } from '../../store/settings-hash.ts'
import { addressWarnings } from '../address-warnings.ts'
import type { Keystore } from '../keystore.ts'
import { withTemporal } from '../temporal/connection.ts'
import { missingAttributes } from '../temporal/search-attributes.ts'
import { fail, ok, warn, type Check } from './check.ts'
import { lostIn } from '../views/census.ts'
import { fleetNodes } from '../views/nodes.ts'
import { askWorkflows } from '../temporal/workflows.ts'
import { workflowChecks } from './runs.ts'

/** A clock that is off by this makes times in records and logs misleading. The protocol itself uses MongoDB's clock. */
const clockWarnMs = 1000

/**
 * The checks of MongoDB and the keystore. They change nothing but the time of the last probe write in the settings. If no
 * write is confirmed, the other checks are skipped: they would read stale data.
 */
export async function keystoreChecks(config: Config, keystore: Keystore): Promise<Check[]> {
  const { store, install, isSetUp } = keystore
  const majority = await majorityCheck(keystore)
  const checks: Check[] = [
    ok('mongodb', `a replica set, database "${config.mongodb.database}"`),
    majority,
  ]
  if (majority.state === 'fail') return checks
  checks.push(
    (await proveKillSessions(store))
      ? ok('killSessions', 'a transaction of its own could be killed')
      : fail(
          'killSessions',
          'a transaction could not be killed',
          'all workers of an install use one MongoDB user with readWrite',
        ),
  )
  checks.push(await clockCheck(keystore))
  if (!isSetUp) {
    checks.push(fail('setup', 'it was not run for this database', 'run: keyturn setup'))
    return checks
  }
  checks.push(await collectionsCheck(keystore))
  checks.push(await indexesCheck(keystore))
  checks.push(
    install === null || install.provider === null
      ? warn(
          'install',
          'no key is installed yet',
          `run: keyturn ${config.kek.provider}-init --version 1`,
        )
      : ok('install', `"${install.name}" with provider ${install.provider}`),
    await fleetCheck(config, keystore),
    await settingsCheck(config, keystore),
  )
  return checks
}

/** One check, and only where an option of the MongoDB address does not count as written. */
export function addressChecks(config: Config): Check[] {
  const notes = addressWarnings(config)
  const hint = 'take it out of the address; docs/configuration.md lists the options'
  return notes.length === 0 ? [] : [warn('mongodb address', notes.join('; '), hint)]
}

/** Each recorded collection exists, has its recorded UUID, and can be swept. */
async function collectionsCheck(keystore: Keystore): Promise<Check> {
  const lost = await lostIn(keystore)
  if (lost.length === 0) {
    return ok('collections', `${keystore.settings.collections.length} recorded, each can be swept`)
  }
  const hints = new Set(lost.map((one) => lostError(one).hint ?? 'see docs/troubleshooting.md'))
  return fail(
    'collections',
    lost.map(({ code, message }) => `${code}: ${message}`).join('; '),
    [...hints].join('; '),
  )
}

async function indexesCheck({ store, settings }: Keystore): Promise<Check> {
  const faults = await indexFaults(store, settings.collections)
  if (faults.length === 0) return ok('indexes', 'each envelope field has its indexes')
  const { message, hint } = indexMissing(faults)
  return fail('indexes', message, hint ?? 'run: keyturn setup')
}

export async function temporalChecks(config: Config, keystore: Keystore | null): Promise<Check[]> {
  return withTemporal(config, async (link) => {
    const missing = await missingAttributes(link)
    const workflows = keystore === null ? null : await askWorkflows(keystore, link)
    return [
      ok('temporal', `"${link.address}", namespace "${link.namespace}"`),
      missing.length === 0
        ? ok('search attributes', 'registered')
        : fail('search attributes', `missing: ${missing.join(', ')}`, 'run: keyturn setup'),
      ...(workflows === null ? [] : workflowChecks(workflows)),
    ]
  })
}

/** One write with a time limit. The hint depends on arbiters: they vote for a primary, but confirm no write. */
async function majorityCheck({ store, isSetUp }: Keystore): Promise<Check> {
  const name = 'majority writes'
  const { data, arbiters } = await readMembers(store)
  const set = `${data ?? 0} members hold data, ${arbiters} ${arbiters === 1 ? 'is an arbiter' : 'are arbiters'}`
  try {
    await proveMajority(store, isSetUp)
  } catch (error) {
    if (!(error instanceof KeyturnError)) throw error
    return arbiters === 0
      ? fail(
          name,
          error.message,
          'bring the members back that are down or lag: rs.status() names them',
        )
      : fail(
          name,
          `${error.message}; ${set}`,
          `bring the member back that is down; ${replaceArbiter}`,
        )
  }
  return arbiters > 0 && (data ?? 0) - 1 < Math.floor(((data ?? 0) + arbiters) / 2) + 1
    ? warn(name, `confirmed, but ${set}: with one of those down none is`, replaceArbiter)
    : ok(name, 'confirmed in time')
}

const replaceArbiter = 'replace the arbiter by a member that holds data'

async function clockCheck({ store }: Keystore): Promise<Check> {
  const before = Date.now()
  const server = (await serverNow(store)).getTime()
  const here = (before + Date.now()) / 2
  const offMs = Math.round(Math.abs(server - here))
  return offMs < clockWarnMs
    ? ok('clock', `${inWords(offMs)} from that of MongoDB`)
    : warn(
        'clock',
        `${inWords(offMs)} from that of MongoDB`,
        'synchronise it (chrony, systemd-timesyncd)',
      )
}

async function fleetCheck(config: Config, { store }: Keystore): Promise<Check> {
  const nodes = (await fleetNodes(store)).filter(({ decommissioned }) => !decommissioned)
  const malformed = nodes.filter(({ processes }) => processes.some((one) => one.malformed))
  if (malformed.length > 0) {
    return warn(
      'fleet',
      `malformed heartbeats of ${malformed.map(({ node }) => node).join(', ')}`,
      'mend or stop what writes them (docs/protocol.md); keyturn nodes shows which',
    )
  }
  const silent = nodes.filter(({ live }) => !live).map(({ node }) => node)
  if (silent.length > 0) {
    return warn(
      'fleet',
      `no heartbeat from ${silent.join(', ')}`,
      'start its worker, or: keyturn nodes decommission NAME',
    )
  }
  const { heartbeatMs, leaseMs } = config.fleet
  return nodes.length === 0
    ? warn('fleet', 'no worker was ever seen', 'start one: keyturn worker')
    : ok(
        'fleet',
        `${nodes.length} live; heartbeat ${inWords(heartbeatMs)}, lease ${inWords(leaseMs)}`,
      )
}

/** Compares this file and each process's settings with the recorded ones, and names those that differ. */
async function settingsCheck(config: Config, { store, settings }: Keystore): Promise<Check> {
  const recorded = settingsHash(settings).toString('hex')
  if (settingsHash(settingsOf(config)).toString('hex') !== recorded) {
    return fail(
      'settings',
      `${config.file} differs from what is recorded`,
      'run: keyturn setup, or align the file',
    )
  }
  const heartbeats = await readHeartbeats(store)
  const others = heartbeats.filter((heartbeat) => {
    const hash = heartbeat.settings ?? null
    return hash !== null && Buffer.from(hash.value()).toString('hex') !== recorded
  })
  const names = [...new Set(others.map(({ node }) => node))].join(', ')
  return others.length === 0
    ? ok('settings', 'this file and the fleet agree with what is recorded')
    : fail('settings', `other settings on ${names}`, 'align the file there, and restart')
}
