import { randomBytes } from 'node:crypto'
import { KeyturnError } from '../contracts/errors.ts'
import type { InstallInput, InstallResult } from '../contracts/install.ts'
import type { ProbeReport } from '../contracts/kek.ts'
import type { RemovalStep, RemoveInput } from '../contracts/removal.ts'
import { keyIdDigits } from '../protocol/own-key.ts'
import { probeFailure, profileFrom } from '../providers/pkcs11/probe/failure.ts'
import { insertFirstActive } from '../store/kek-active.ts'
import { claimProvider, countInstallation } from '../store/kek-install.ts'
import { completeInstall, insertIntent, readVersion } from '../store/kek-versions.ts'
import type { VersionDoc } from '../store/documents.ts'
import type { Store } from '../store/store.ts'
import type { ActivityDeps } from './deps.ts'
import { destroyHsmKey } from './hsm-removal.ts'
import { checkedInput } from './install-input.ts'
import { installResult, versionDestroyed } from './installation.ts'
import { requireNewKey, requireStillNew, type NamedKey } from './new-key.ts'
import { requireSameIntent, requireUnused } from './registration.ts'
import { serving } from './serving-installations.ts'
import { requireIdentity } from './settings.ts'

/**
 * Lengths of the parts of Keyturn's CKA_ID: the first bytes of the keystore's id, to tell a copy's keys from the original's,
 * then random bytes, to tell our own key from an administrator's after a crash.
 */
const keyIdLength = { keystore: keyIdDigits / 2, random: 8 }

/**
 * The steps of `installKek` and of a removal with `--destroy-hsm-key` that need access to keys. Each may be repeated, by this
 * process or another. They run on the rewrap queue: a control node may have no keys.
 */
export function ceremonyActivities(deps: ActivityDeps) {
  return {
    probeToken: serving(deps, async (input: InstallInput, signal): Promise<ProbeReport | null> => {
      const checked = checkedInput(deps, input)
      await requireNotDestroyed(deps.store, checked.version)
      requireProof(deps)
      return await probe(deps, checked, signal)
    }),

    declareIntent: serving(deps, async (input: InstallInput): Promise<void> => {
      const checked = checkedInput(deps, input)
      await requireNotDestroyed(deps.store, checked.version)
      requireProof(deps)
      const { version, provider, origin, requestedBy } = checked
      const label = labelFor(deps, checked)
      const keyId = await keyIdFor(deps, checked)
      const intent = { version, provider, origin, label, keyId, madeBy: deps.node, requestedBy }
      if (origin === 'registered') await requireUnused(deps.store, intent)
      requireSameIntent(await insertIntent(deps.store, intent), intent)
    }),

    makeKek: serving(deps, async (input: InstallInput): Promise<InstallResult> => {
      const checked = checkedInput(deps, input)
      await requireNotDestroyed(deps.store, checked.version)
      requireProof(deps)
      return await make(deps, checked)
    }),

    /** After the version is destroyed in the keystore: the object in the HSM. */
    destroyHsmKey: async (input: RemoveInput): Promise<RemovalStep> =>
      await destroyHsmKey(deps, input),
  }
}

function labelFor({ provider }: ActivityDeps, input: InstallInput): string {
  return input.label ?? provider.ceremony.labelOf(input.version)
}

function askedKeyId({ keyId }: InstallInput): Buffer | null {
  return typeof keyId === 'string' ? Buffer.from(keyId, 'hex') : null
}

/** The id of the key to make, or of the administrator's key. From now on the version means exactly that key. */
async function keyIdFor(deps: ActivityDeps, input: InstallInput): Promise<Buffer | null> {
  if (input.origin === 'environment') return null
  if (input.origin === 'generated') {
    return Buffer.concat([await keystoreBytes(deps.store), randomBytes(keyIdLength.random)])
  }
  const { ceremony } = deps.provider
  return (await ceremony.find(labelFor(deps, input), askedKeyId(input))).keyId
}

/** The first bytes of the ids of keys that this keystore makes. */
async function keystoreBytes(store: Store): Promise<Buffer> {
  const { id } = await requireIdentity(store)
  return Buffer.from(id, 'hex').subarray(0, keyIdLength.keystore)
}

/** Refuses a token or a key that is not usable, with the reason, before anything is written. */
async function probe(
  deps: ActivityDeps,
  input: InstallInput,
  signal: AbortSignal,
): Promise<ProbeReport | null> {
  const { provider, node } = deps
  const { ceremony } = provider
  const named = { label: labelFor(deps, input), keyId: askedKeyId(input) }
  if (input.provider === 'env') {
    await ceremony.find(named.label, null)
    await requireNewKey(deps, input.version, named)
    return null
  }
  if (input.origin === 'registered') await requireOtherKey(deps, input.version, named)
  const report =
    input.origin === 'registered'
      ? await ceremony.examine(named.label, named.keyId)
      : await ceremony.probe(signal)
  const failure = probeFailure(report)
  if (failure === null) return report
  throw new KeyturnError(failure.code, `the token on ${node} is not usable: ${failure.message}`, {
    hint: failure.hint ?? 'keyturn pkcs11-init --probe-only shows all phases',
  })
}

/** Key → attributes → canary → another's key? → lock → row → (first version) active. */
async function make(deps: ActivityDeps, input: InstallInput): Promise<InstallResult> {
  const { config, store, provider, member, node } = deps
  const { ceremony } = provider
  const intent = await requireRow(store, input.version)
  if (intent.canary !== null) {
    // Done by an earlier attempt, or long ago: no key is touched again.
    await insertFirstActive(store, input.version)
    return await installResult(store, intent, false)
  }
  const intended = intent.key_id === null ? null : Buffer.from(intent.key_id.buffer)
  if (intent.origin === 'generated' && intended !== null) {
    await ceremony.generate(intent.label, intended, await keystoreBytes(store))
  }
  const { keyId } = await ceremony.find(intent.label, intended)
  const gcm =
    intent.origin === 'registered'
      ? profileFrom(await ceremony.examine(intent.label, keyId))
      : await ceremony.gcmProfile()
  const canary = await ceremony.makeCanary(input.version, intent.label, keyId, gcm)
  await requireNewKey(deps, input.version, { label: intent.label, keyId })
  const { provider: kind, requestedBy: by } = input
  await claimProvider(store, { name: config.install, provider: kind, by })
  await countInstallation(store, intent.store)
  const made = { gcm, canary, label: intent.label, keyId }
  const asked = { requestedBy: by, madeBy: node }
  const isNew = await completeInstall(store, input.version, made, asked)
  if (isNew) await requireStillNew(deps, input.version, { ...made, ...asked })
  await insertFirstActive(store, input.version)
  await member.beat()
  return await installResult(store, await requireRow(store, input.version), true)
}

/** Only a process that can use the active version may make another one: its token could be the wrong one. */
function requireProof({ member, node }: ActivityDeps): void {
  const { active, degraded } = member.state()
  if (active === null || degraded === null) return
  throw new KeyturnError('kek-not-loaded', `${node} cannot use version ${active.version}`, {
    hint: `${degraded.message}; start a worker on a host that can`,
  })
}

/** Refuses an administrator's key whose label, id or material is another version's. */
async function requireOtherKey(
  deps: ActivityDeps,
  version: number,
  named: NamedKey,
): Promise<void> {
  const { label } = named
  const { keyId } = await deps.provider.ceremony.find(label, named.keyId)
  await requireUnused(deps.store, { version, label, keyId })
  await requireNewKey(deps, version, { label, keyId })
}

async function requireNotDestroyed(store: Store, version: number): Promise<void> {
  const row = await readVersion(store, version)
  if (row !== null && row.destroyed_at !== null) throw versionDestroyed(version)
}

async function requireRow(store: Store, version: number): Promise<VersionDoc> {
  const row = await readVersion(store, version)
  if (row !== null) return row
  throw new KeyturnError('internal', `the intent of version ${version} is gone`)
}
