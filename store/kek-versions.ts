import { Binary } from 'mongodb'
import { KeyturnError } from '../contracts/errors.ts'
import type { Canary, GcmProfile, KekDescriptor, ProviderName } from '../contracts/kek.ts'
import { recordAudit, type AuditEntry } from './audit-outbox.ts'
import type { VersionDoc } from './documents.ts'
import { keystore } from './keystore.ts'
import { isDuplicateKey } from './server-errors.ts'
import { serverNow, type Store } from './store.ts'
import { inTransaction } from './transaction.ts'

/** Including intents. */
export async function readVersions(store: Store): Promise<VersionDoc[]> {
  return await keystore.versions(store).find().sort({ _id: 1 }).toArray()
}

export async function readVersion(store: Store, version: number): Promise<VersionDoc | null> {
  return await keystore.versions(store).findOne({ _id: version })
}

/** What a provider needs of a version; null for an intent, which has no canary yet. */
export function kekDescriptor(row: VersionDoc): KekDescriptor | null {
  if (row.canary === null || row.gcm === null) return null
  return {
    version: row._id,
    provider: row.provider,
    label: row.label,
    keyId: row.key_id === null ? null : bytesOf(row.key_id),
    gcm: {
      ivMode: row.gcm.iv_mode,
      ivLength: row.gcm.iv_length,
      tagBits: row.gcm.tag_bits,
    },
    canary: {
      dekIv: bytesOf(row.canary.dek_iv),
      dekWrapped: bytesOf(row.canary.dek_wrapped),
      digest: bytesOf(row.canary.digest),
    },
  }
}

export interface Intent {
  version: number
  provider: ProviderName
  label: string
  /** The future CKA_ID; null for `env`. */
  keyId: Uint8Array | null
  origin: VersionDoc['origin']
  madeBy: string
  /** Who asked for it, for the audit. */
  requestedBy: string
}

/**
 * Inserts the row with the future key's id before the key is made, so that a repeat after a crash finds its own key.
 * Returns the stored row, which may be from an earlier try, with its key id, and may be finished or destroyed. Throws
 * `version-exists` if the key belongs to another version: of two concurrent registrations an index lets one through.
 */
export async function insertIntent(store: Store, intent: Intent): Promise<VersionDoc> {
  const row: VersionDoc = {
    _id: intent.version,
    provider: intent.provider,
    store: intent.provider,
    label: intent.label,
    key_id: binaryOf(intent.keyId),
    origin: intent.origin,
    made_by: intent.madeBy,
    gcm: null,
    canary: null,
    wraps: 0,
    rotation: null,
    created_at: await serverNow(store),
    activated_at: null,
    deactivated_at: null,
    left_at: null,
    left_epoch: null,
    periods: [],
    removal: null,
    destroyed_at: null,
  }
  try {
    await inTransaction(store, async (session) => {
      await keystore.versions(store).insertOne(row, { session })
      if (intent.origin !== 'generated') return
      await recordAudit(store, installEntry(row, 'hsm-key-making', intent), session)
    })
    return row
  } catch (error) {
    if (!isDuplicateKey(error)) throw error
  }
  const there = await readVersion(store, intent.version)
  if (there !== null) return there
  throw (
    (await keyTaken(store, intent)) ??
    new KeyturnError('internal', `the row of version ${intent.version} is gone`)
  )
}

/** The entry of a step of an installation. */
function installEntry(
  { _id, provider, origin, label, key_id }: VersionDoc,
  action: string,
  { requestedBy, madeBy }: Pick<Intent, 'requestedBy' | 'madeBy'>,
  more: object = {},
): AuditEntry {
  const id = key_id?.toString('hex') ?? null
  return {
    actor: requestedBy,
    action,
    subject: `v${_id}`,
    details: { provider, origin, label, id, claimed: true, worker: madeBy, ...more },
  }
}

/** A key belongs to one version for ever: the error if another version has it, even a destroyed one; null if none has. */
export async function keyTaken(
  store: Store,
  { version, label, keyId }: Pick<Intent, 'version' | 'label' | 'keyId'>,
): Promise<KeyturnError | null> {
  const other = await keystore
    .versions(store)
    .findOne({ _id: { $ne: version }, label, key_id: binaryOf(keyId) })
  if (other === null) return null
  return new KeyturnError('version-exists', `key "${label}" is version ${other._id} already`, {
    hint: 'a version is a key of its own: have another one made, under another label',
  })
}

/** A key as found, with its canary. */
export interface MadeKey {
  gcm: GcmProfile
  canary: Canary
  label: string
  keyId: Uint8Array | null
}

/**
 * Turns an intent into a version. `label` and `keyId` are the key's as found (a registered key has its own). False if the row
 * already has a canary: another process was first, and its canary stays.
 */
export async function completeInstall(
  store: Store,
  version: number,
  made: MadeKey,
  by: Pick<Intent, 'requestedBy' | 'madeBy'>,
): Promise<boolean> {
  const { gcm, canary } = made
  return inTransaction(store, async (session) => {
    const row = await keystore.versions(store).findOneAndUpdate(
      { _id: version, canary: null, destroyed_at: null },
      {
        $set: {
          label: made.label,
          key_id: binaryOf(made.keyId),
          gcm: { iv_mode: gcm.ivMode, iv_length: gcm.ivLength, tag_bits: gcm.tagBits },
          canary: {
            dek_iv: new Binary(canary.dekIv),
            dek_wrapped: new Binary(canary.dekWrapped),
            digest: new Binary(canary.digest),
          },
        },
      },
      { session, returnDocument: 'after' },
    )
    if (row === null) return false
    if (row.origin === 'generated') {
      await recordAudit(store, installEntry(row, 'hsm-key-made', by), session)
    }
    await recordAudit(store, installEntry(row, 'version-installed', by), session)
    return true
  })
}

/**
 * Turns a version back into an intent, because its key is another version's (`reason`), if it still has this canary, was
 * never active, and has no rotation's mark.
 */
export async function takeBackInstall(
  store: Store,
  version: number,
  canary: Canary,
  by: Pick<Intent, 'requestedBy' | 'madeBy'> & { reason: string },
): Promise<void> {
  const own = { 'canary.digest': new Binary(canary.digest) }
  await inTransaction(store, async (session) => {
    const row = await keystore
      .versions(store)
      .findOneAndUpdate(
        { _id: version, ...own, activated_at: null, rotation: null },
        { $set: { canary: null, gcm: null } },
        { session },
      )
    if (row === null) return
    const { reason } = by
    await recordAudit(store, installEntry(row, 'version-discarded', by, { reason }), session)
  })
}

/** Adds counts of wraps, by version. Call it with a heartbeat. */
export async function countWraps(store: Store, wraps: ReadonlyMap<number, number>): Promise<void> {
  const updates = [...wraps].filter(([, count]) => count > 0)
  if (updates.length === 0) return
  await keystore.versions(store).bulkWrite(
    updates.map(([version, count]) => ({
      updateOne: { filter: { _id: version }, update: { $inc: { wraps: count } } },
    })),
    { ordered: false },
  )
}

function binaryOf(bytes: Uint8Array | null): Binary | null {
  return bytes === null ? null : new Binary(bytes)
}

function bytesOf(binary: Binary): Buffer {
  return Buffer.from(binary.value())
}
