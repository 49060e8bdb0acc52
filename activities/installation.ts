import { randomBytes } from 'node:crypto'
import { KeyturnError } from '../contracts/errors.ts'
import type { InstallInput, InstallResult } from '../contracts/install.ts'
import type { ProbeReport } from '../contracts/kek.ts'
import { isLive } from '../protocol/facts.ts'
import { probeFailure, profileFrom } from '../providers/pkcs11/probe-failure.ts'
import { insertFirstActive, readActive } from '../store/kek-active.ts'
import { appendAudit } from '../store/kek-audit.ts'
import { insertInstall, requireInstall } from '../store/kek-install.ts'
import { completeInstall, insertIntent, readVersion } from '../store/kek-versions.ts'
import type { VersionDoc } from '../store/documents.ts'
import type { Store } from '../store/store.ts'
import type { ActivityDeps } from './deps.ts'
import { readFleet } from './fleet.ts'
import { requireAskedKey, requireSameIntent, requireUnused } from './registration.ts'

/** Bytes of a CKA_ID of ours: random, so that after a crash we know our own key from an administrator's. */
const keyIdLength = 16

export interface Standing {
  /** The result of an earlier install of this version; null when there is work to do. */
  installed: InstallResult | null
  /** Nodes with a live worker. */
  nodes: string[]
}

/** The steps of `installKek`; each may be repeated, by this process or by another. */
export function installationActivities(deps: ActivityDeps) {
  return {
    checkInstall: async (input: InstallInput): Promise<Standing> => await check(deps, input),

    probeToken: async (input: InstallInput): Promise<ProbeReport | null> => {
      requireProof(deps)
      return await probe(deps, input)
    },

    declareIntent: async (input: InstallInput): Promise<void> => {
      requireProof(deps)
      const { version, provider, origin } = input
      const label = labelFor(deps, input)
      const keyId = await keyIdFor(deps, input)
      const intent = { version, provider, origin, label, keyId, madeBy: deps.node }
      if (origin === 'registered') await requireUnused(deps.store, intent)
      requireSameIntent(await insertIntent(deps.store, intent), intent)
    },

    makeKek: async (input: InstallInput): Promise<InstallResult> => {
      requireProof(deps)
      return await make(deps, input)
    },
  }
}

async function check(deps: ActivityDeps, input: InstallInput): Promise<Standing> {
  const { store, provider, node } = deps
  if (input.provider !== provider.name) {
    throw new KeyturnError(
      'config-differs',
      `the worker on ${node} is configured for provider "${provider.name}", not "${input.provider}"`,
      { hint: 'use one kek.provider in the keyturn.yaml of all hosts' },
    )
  }
  await requireInstall(store, input)
  const row = await readVersion(store, input.version)
  if (row !== null && row.destroyed_at !== null) {
    throw new KeyturnError('version-destroyed', `version "${input.version}" was destroyed`, {
      hint: 'a destroyed number never comes back: install the next one',
    })
  }
  const { heartbeats } = await readFleet(deps)
  const workers = heartbeats.filter((one) => one.role === 'worker' && isLive(one))
  const nodes = [...new Set(workers.map((one) => one.node))].sort()
  const isInstalled = row !== null && row.canary !== null
  if (isInstalled) requireAskedKey(row, input)
  return { installed: isInstalled ? await resultOf(store, row, false) : null, nodes }
}

function labelFor({ provider }: ActivityDeps, input: InstallInput): string {
  return input.label ?? provider.ceremony.labelOf(input.version)
}

function askedKeyId({ keyId }: InstallInput): Buffer | null {
  return typeof keyId === 'string' ? Buffer.from(keyId, 'hex') : null
}

/** The id of the key that is to be made, or of the one that an administrator made: from now on exactly that one. */
async function keyIdFor(deps: ActivityDeps, input: InstallInput): Promise<Buffer | null> {
  if (input.origin === 'environment') return null
  if (input.origin === 'generated') return randomBytes(keyIdLength)
  const { ceremony } = deps.provider
  return (await ceremony.find(labelFor(deps, input), askedKeyId(input))).keyId
}

/** A token that is not usable is a refusal that names the phase; nothing has been written then. */
async function probe(deps: ActivityDeps, input: InstallInput): Promise<ProbeReport | null> {
  const { provider, node } = deps
  const { ceremony } = provider
  if (input.provider === 'env') {
    await ceremony.find(ceremony.labelOf(input.version), null)
    return null
  }
  const report =
    input.origin === 'registered'
      ? await ceremony.examine(labelFor(deps, input), askedKeyId(input))
      : await ceremony.probe()
  const failure = probeFailure(report)
  if (failure === null) return report
  throw new KeyturnError(failure.code, `the token on ${node} is not usable: ${failure.message}`, {
    hint: failure.hint ?? 'keyturn pkcs11-init --probe-only shows all phases',
  })
}

/** Key → attributes → canary → lock → row → (first version) active. */
async function make(deps: ActivityDeps, input: InstallInput): Promise<InstallResult> {
  const { store, provider, member } = deps
  const { ceremony } = provider
  const intent = await requireRow(store, input.version)
  const intended = intent.key_id === null ? null : Buffer.from(intent.key_id.buffer)
  if (intent.origin === 'generated' && intended !== null) {
    await ceremony.generate(intent.label, intended)
  }
  const { keyId } = await ceremony.find(intent.label, intended)
  const gcm =
    intent.origin === 'registered'
      ? profileFrom(await ceremony.examine(intent.label, keyId))
      : await ceremony.gcmProfile()
  const canary = await ceremony.makeCanary(input.version, intent.label, keyId, gcm)
  await insertInstall(store, { ...input, created_by: input.requestedBy })
  await requireInstall(store, input)
  const made = { gcm, canary, label: intent.label, keyId }
  const isNew = await completeInstall(store, input.version, made)
  await insertFirstActive(store, input.version)
  if (isNew) await audit(deps, input, intent)
  await member.beat()
  return await resultOf(store, await requireRow(store, input.version), true)
}

/** Only a process that proves the active version may make another one: else it would be made in the wrong token. */
function requireProof({ member, node }: ActivityDeps): void {
  const { active, degraded } = member.state()
  if (active === null || degraded === null) return
  throw new KeyturnError('kek-not-loaded', `${node} cannot use version ${active.version}`, {
    hint: `${degraded.message}; start a worker on a host that can`,
  })
}

async function requireRow(store: Store, version: number): Promise<VersionDoc> {
  const row = await readVersion(store, version)
  if (row !== null) return row
  throw new KeyturnError('internal', `the intent of version ${version} is gone`)
}

async function resultOf(store: Store, row: VersionDoc, created: boolean): Promise<InstallResult> {
  const active = await readActive(store)
  return {
    version: row._id,
    label: row.label,
    provider: row.provider,
    madeBy: row.made_by,
    created,
    active: active?.version === row._id,
    probe: null,
  }
}

async function audit(deps: ActivityDeps, input: InstallInput, intent: VersionDoc): Promise<void> {
  const { provider, origin } = input
  await appendAudit(deps.store, {
    actor: input.requestedBy,
    action: 'version-installed',
    subject: `v${input.version}`,
    details: { provider, origin, label: intent.label, node: deps.node },
  })
}
