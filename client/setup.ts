import canonicalize from 'canonicalize'
import { buildId } from '../config/build-id.ts'
import { settingsOf } from '../config/settings.ts'
import { makeSigningKey, readSigningKey } from '../config/signing-key.ts'
import { settingsSubject } from '../store/settings-approval.ts'
import { KeyturnError } from '../contracts/errors.ts'
import type { InstallIdentity } from '../contracts/names.ts'
import {
  noApprovals,
  type ApprovalRules,
  type Config,
  type FleetSettings,
} from '../contracts/settings.ts'
import { countVersions } from '../store/census.ts'
import { checkShapes } from '../store/collections.ts'
import { recordAudit } from '../store/audit-outbox.ts'
import { publicPem } from '../store/audit-head.ts'
import { createIndexes } from '../store/indexes.ts'
import { identityOf, insertInstall, judgeInstall, recordAuditKey } from '../store/kek-install.ts'
import { collectionUuids } from '../store/keystore-home.ts'
import { writeSettings } from '../store/kek-settings.ts'
import { proveMajority } from '../store/majority.ts'
import type { Store } from '../store/store.ts'
import { requireApproval } from './approvals/require.ts'
import { withOwnKeystore, type Keystore } from './keystore.ts'
import { isServed, makeCurrent, readBuilds } from './temporal/builds.ts'
import { withTemporal, type TemporalLink } from './temporal/connection.ts'
import { requester } from './temporal/names.ts'
import { uuidDifference, withUuids } from './recorded-uuids.ts'
import { registerAttributes } from './temporal/search-attributes.ts'
import { droppedFields, relaidFields, settingsDifference } from './settings-difference.ts'

/** The shape of `setup --json`. */
export interface SetupReport {
  install: string
  database: string
  settings: 'recorded' | 'unchanged' | 'changed'
  /** A line for each recorded setting that was changed. */
  changes: string[]
  /** What the settings do not protect from; absent if there is nothing to say. */
  warnings?: string[]
  /** Search attributes that were not there before. */
  searchAttributes: string[]
  /** The public key of `audit.signing_key`, PEM (SPKI), if it was recorded now. */
  auditKey?: string
  /** This Keyturn's build of the workflows, and whether new runs go to it; absent before a worker polls. */
  build?: { id: string; current: boolean; by: BuildRouting }
}

/** `unserved`: no worker of this build is alive, so nothing was changed. `off`: the server does not support worker deployments. */
export type BuildRouting = 'made' | 'was' | 'unserved' | 'off'

/** Called with a line for each difference before recorded settings are changed. Throws to change nothing. */
export type AskChange = (changes: string[]) => Promise<void>

/**
 * Prepares the servers of a configuration: indexes, search attributes, and the settings that count for the whole fleet.
 * Safe to repeat. Throws collection-in-use when a field that still holds envelopes would be dropped.
 */
export async function setup(config: Config, ask: AskChange): Promise<SetupReport> {
  return withOwnKeystore(config, async (keystore) =>
    withTemporal(config, async (link) => {
      const { report, identity } = await prepare(config, keystore, link, ask)
      const build = await routeToThisBuild(link, keystore.store, identity)
      return build === null ? report : { ...report, build }
    }),
  )
}

/** Routes new runs to the build of this command if a worker of that build is alive. Null where no control worker is alive. */
async function routeToThisBuild(
  link: TemporalLink,
  store: Store,
  install: InstallIdentity,
): Promise<NonNullable<SetupReport['build']> | null> {
  const builds = await readBuilds(link, store, install)
  if (builds.workers.length === 0) return null
  const id = buildId()
  if (builds.off !== null) return { id, current: isServed(builds, id), by: 'off' }
  if (builds.current === id) return { id, current: true, by: 'was' }
  if (!isServed(builds, id)) return { id, current: false, by: 'unserved' }
  await makeCurrent(link, install, id, requester())
  return { id, current: true, by: 'made' }
}

/** The part of `setup` that the init commands run first: it asks nothing. Throws settings-differ where `setup` would ask. */
export async function prepareForInstall(
  config: Config,
  keystore: Keystore,
  link: TemporalLink,
): Promise<InstallIdentity> {
  const { identity } = await prepare(config, keystore, link, (changes) => {
    throw new KeyturnError('settings-differ', `${config.file} differs from the recorded settings`, {
      hint: `keyturn setup shows it and asks; first: ${changes[0] ?? 'nothing'}`,
    })
  })
  return identity
}

async function prepare(
  config: Config,
  keystore: Keystore,
  link: TemporalLink,
  ask: AskChange,
): Promise<{ report: SetupReport; identity: InstallIdentity }> {
  const { store, settings: recorded, isSetUp } = keystore
  const wanted = settingsOf(config)
  await checkShapes(store, wanted.collections)
  const changes = isSetUp
    ? [
        ...settingsDifference(recorded, wanted),
        ...uuidDifference(recorded, wanted, await collectionUuids(store)),
      ]
    : []
  if (changes.length > 0) {
    await refusing(store, changes, async () => {
      await refuseToDropEnvelopes(store, recorded, wanted)
      await ask(changes)
      const uuids = await collectionUuids(store)
      await approveChange(keystore, withUuids(wanted, uuids, recorded), changes)
      // The question may take long to be answered, and applications write meanwhile.
      await refuseToDropEnvelopes(store, recorded, wanted)
    })
  }
  const searchAttributes = await registerAttributes(link)
  // All data-bearing members build an index together: if one is down, createIndexes waits for it.
  await proveMajority(store, isSetUp)
  const identity = await requireIdentity(config, store)
  await createIndexes(store, wanted.collections)
  await record(keystore, wanted, changes)
  const auditKey = await recordSigningKey(config, store)
  const warnings = approvalWarnings(wanted.approvals ?? noApprovals)
  const report: SetupReport = {
    install: config.install,
    database: config.mongodb.database,
    settings: !isSetUp ? 'recorded' : changes.length > 0 ? 'changed' : 'unchanged',
    changes,
    ...(warnings.length === 0 ? {} : { warnings }),
    searchAttributes,
    ...(auditKey === null ? {} : { auditKey }),
  }
  return { report, identity }
}

/** A number of 1 is one person: who asks under another login, or with another person's key, approves it alone. */
function approvalWarnings(rules: ApprovalRules): string[] {
  const single = (['remove', 'rotate', 'settings', 'store'] as const).filter(
    (action) => rules[action] === 1,
  )
  if (single.length === 0) return []
  const names = single.map((action) => `approvals.${action}`).join(', ')
  return [
    `1 approval does not mean two people (${names}): the requester's name is a login that nobody verifies; 2 does`,
  ]
}

/** The identity of this keystore, created if there is none. A concurrent `setup` may create it first. */
async function requireIdentity(config: Config, store: Store): Promise<InstallIdentity> {
  const { install: name } = config
  const row = await insertInstall(store, { name, created_by: requester() })
  judgeInstall(row, { name, provider: config.kek.provider }, config.mongodb.database)
  return identityOf(row)
}

/**
 * Writes the settings with the UUIDs of their collections. If no setting changed, only UUIDs that could not be read before
 * are added.
 */
async function record(keystore: Keystore, wanted: FleetSettings, changes: string[]): Promise<void> {
  const { store, settings: recorded, isSetUp } = keystore
  const isNew = !isSetUp || changes.length > 0
  const settings = withUuids(isNew ? wanted : recorded, await collectionUuids(store), recorded)
  if (!isNew && canonicalize(settings) === canonicalize(recorded)) return
  const by = requester()
  const action = changes.length > 0 ? 'settings-changed' : 'settings-recorded'
  const entry = { actor: by, action, subject: 'settings', details: { changes } }
  await approveChange(keystore, settings, changes)
  await writeSettings(store, { settings, by, changes, ...(isNew ? { entry } : {}) })
}

/** Throws `ApprovalMissing` when the change needs approvals and lacks them. What writes the settings verifies them again. */
async function approveChange(
  keystore: Keystore,
  settings: FleetSettings,
  changes: readonly string[],
): Promise<void> {
  if (!keystore.isSetUp) return
  const subject = settingsSubject(keystore.settings, settings, changes)
  if (subject !== null) await requireApproval(keystore, subject)
}

/** Makes the key of `audit.signing_key` if there is none. Null where none is configured, or it is recorded already. */
async function recordSigningKey({ audit }: Config, store: Store): Promise<string | null> {
  if (audit.signingKey === undefined) return null
  const key = publicPem(readSigningKey(audit.signingKey) ?? makeSigningKey(audit.signingKey))
  return (await recordAuditKey(store, { key, by: requester() })) ? key : null
}

/** A refused change of the settings is an entry of the audit. */
async function refusing(store: Store, changes: string[], check: () => Promise<void>) {
  try {
    await check()
  } catch (error) {
    if (error instanceof KeyturnError && error.code === 'collection-in-use') {
      const details = { changes, reason: error.message }
      const entry = { actor: requester(), action: 'settings-refused', subject: 'settings', details }
      await recordAudit(store, entry)
    }
    throw error
  }
}

async function refuseToDropEnvelopes(
  store: Store,
  recorded: FleetSettings,
  wanted: FleetSettings,
): Promise<void> {
  const { byField, oddByField } = await countVersions(store, [
    ...droppedFields(recorded, wanted),
    ...relaidFields(recorded, wanted),
  ])
  const held = [
    ...byField.map(({ version, ...field }) => ({ ...field, what: `envelopes of v${version}` })),
    ...oddByField.map((field) => ({ ...field, what: 'odd envelopes' })),
  ].find(({ envelopes }) => envelopes > 0)
  if (held === undefined) return
  throw new KeyturnError(
    'collection-in-use',
    `"${held.collection}.${held.field}" still holds ${held.envelopes} ${held.what}`,
    { hint: 'leave it in the file: what keyturn does not know it cannot re-wrap' },
  )
}
