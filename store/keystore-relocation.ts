import type { ClientSession } from 'mongodb'
import { randomBytes } from 'node:crypto'
import { KeyturnError, type ErrorReport } from '../contracts/errors.ts'
import type { CollectionConfig } from '../contracts/settings.ts'
import { withdrawRequests } from './approval-requests.ts'
import type { HomeDoc, InstallDoc } from './documents.ts'
import { recordAudit, type AuditEntry } from './audit-outbox.ts'
import { fenceOn, lowerFence } from './fence.ts'
import { newInstallId } from './kek-install.ts'
import { withdrawTasks } from './kek-tasks.ts'
import { clearEndedMarks } from './rotation-marks.ts'
import { keystore } from './keystore.ts'
import { perhapsActive } from './periods.ts'
import { dropRun } from './policy-runs.ts'
import { readHeartbeats } from './process-heartbeats.ts'
import { withdrawRemoval, type Withdrawal } from './removal-requests.ts'
import { closeRanges } from './range-takeover.ts'
import { endRotation, runningRotation } from './rotations.ts'
import type { Store } from './store.ts'
import { inTransaction } from './transaction.ts'

/** Declarations of `setup` about a keystore that is not where it was recorded. Each replaces exactly the identity that was read. */

export interface Declaration {
  /** Where the keystore is now. */
  home: HomeDoc
  collections: readonly CollectionConfig[]
  /** Who declares it. */
  by: string
}

/** The original is gone and this replaces it: it keeps its id. */
export async function declareMoved(
  store: Store,
  row: InstallDoc,
  { home, by }: Pick<Declaration, 'home' | 'by'>,
): Promise<void> {
  await inTransaction(store, async (session) => {
    await replaceIdentity(store, row, { home }, session)
    await recordAudit(store, declared('moved', row, by, { home }), session)
  })
}

/**
 * The original still exists: this one gets an id of its own, and no key of the versions in it is ever destroyed in an HSM
 * from here. Open requests, rotations and installations of the original are withdrawn here.
 */
export async function declareCopy(
  store: Store,
  row: InstallDoc,
  { home, collections, by }: Declaration,
): Promise<{ id: string; withdrawn: Withdrawn }> {
  const id = newInstallId()
  await inTransaction(store, async (session) => {
    // The key of an intent is the original's: continuing here would make one key a version of two keystores.
    await keystore.versions(store).deleteMany({ canary: null, activated_at: null }, { session })
    await keystore.versions(store).updateMany({}, { $set: { of_original: true } }, { session })
    const { matchedCount } = await keystore
      .install(store)
      .updateOne({ _id: 'install', id: row.id }, { $set: { id, home } }, { session })
    if (matchedCount === 0) throw raced(store)
    await withdrawRequests(store, by, session)
    await recordAudit(store, declared('copied', row, by, { id, home }), session)
  })
  await keystore.tasks(store).deleteMany({})
  // Its Schedule belongs to the original.
  await keystore.policy(store).deleteMany({})
  const removals = await withdrawRemovals(store, collections, { by, reason: ofOriginal.message })
  const rotations = await endRotations(store, ofOriginal)
  return { id, withdrawn: { removals, rotations, epoch: null } }
}

export interface Withdrawn {
  removals: number[]
  rotations: string[]
  /** Epoch of `kek_active`, from and to; null if no version is active, and for a copy, which keeps it. */
  epoch: { from: number; to: number } | null
}

/**
 * An older state replaced a newer one: open requests are withdrawn, and the epoch is raised above every epoch that a process
 * of the fleet has seen, so that all follow this keystore again. A version that was never active in this state may have been
 * active in the lost one: it counts as left now.
 */
export async function declareRestored(
  store: Store,
  row: InstallDoc,
  { home, collections, by }: Declaration,
): Promise<Withdrawn> {
  await withdrawTasks(store)
  await dropRun(store)
  const removals = await withdrawRemovals(store, collections, { by, reason: whileRestored.message })
  const rotations = await endRotations(store, whileRestored)
  const epoch = await raiseEpoch(store)
  const withdrawn = { removals, rotations, epoch }
  const restoration = randomBytes(8).toString('hex')
  await inTransaction(store, async (session) => {
    await replaceIdentity(store, row, { home, restoration }, session)
    await withdrawRequests(store, by, session)
    await recordAudit(store, declared('restored', row, by, { home, withdrawn }), session)
  })
  return withdrawn
}

function declared(
  how: 'moved' | 'copied' | 'restored',
  { id, home }: InstallDoc,
  by: string,
  to: object,
): AuditEntry {
  const details = { from: { id, home }, to: { id, ...to } }
  return { actor: by, action: `keystore-${how}`, subject: 'keystore', details }
}

async function replaceIdentity(
  store: Store,
  row: InstallDoc,
  members: Partial<InstallDoc>,
  session: ClientSession,
): Promise<void> {
  const { matchedCount } = await keystore
    .install(store)
    .updateOne(
      { _id: 'install', id: row.id, 'home.collection': row.home.collection },
      { $set: members },
      { session },
    )
  if (matchedCount === 0) throw raced(store)
}

async function withdrawRemovals(
  store: Store,
  collections: readonly CollectionConfig[],
  why: Withdrawal,
): Promise<number[]> {
  const open = await keystore.removals(store).find({ standing: true }).toArray()
  const withdrawn: number[] = []
  for (const { _id: request, version } of open) {
    if (!(await withdrawRemoval(store, request, 'withdrawn', why))) continue
    for (const collection of collections) await lowerFence(store, fenceOn(collection, version))
    withdrawn.push(version)
  }
  // Of a destroyed version only the HSM key was left to remove; that needs a new request here.
  await keystore
    .removals(store)
    .updateMany({ standing: true, state: 'destroyed' }, { $set: { standing: false } })
  return withdrawn
}

const ofOriginal = {
  code: 'keystore-copied' as const,
  message: 'it ran in the original, of which this is a copy',
}

const whileRestored = {
  code: 'keystore-older' as const,
  message: 'the keystore was restored while it ran',
}

async function endRotations(store: Store, error: ErrorReport): Promise<string[]> {
  const ended: string[] = []
  for (let row = await runningRotation(store); row !== null; row = await runningRotation(store)) {
    await closeRanges(store, { rotation: row._id })
    await endRotation(store, row._id, 'failed', { error })
    ended.push(row._id)
  }
  await clearEndedMarks(store)
  return ended
}

async function raiseEpoch(store: Store): Promise<Withdrawn['epoch']> {
  const active = await keystore.active(store).findOne({ _id: 'active' })
  if (active === null) return null
  const heartbeats = await readHeartbeats(store)
  const seen = heartbeats.flatMap(({ epoch }) => (Number.isSafeInteger(epoch) ? [epoch ?? 0] : []))
  const to = Math.max(active.epoch, ...seen) + 1
  await inTransaction(store, async (session) => {
    const { matchedCount } = await keystore
      .active(store)
      .updateOne({ _id: 'active', epoch: active.epoch }, { $set: { epoch: to } }, { session })
    if (matchedCount === 0) throw raced(store)
    // They may have been active in the lost state, and wraps under them may still be written.
    await keystore
      .versions(store)
      .updateMany(
        { canary: { $ne: null }, activated_at: null, destroyed_at: null },
        [{ $set: { left_at: '$$NOW', left_epoch: to, periods: perhapsActive } }],
        { session },
      )
    // Backups of the lost state may hold envelopes of any version that was there.
    await keystore
      .versions(store)
      .updateMany(
        { _id: { $ne: active.version }, activated_at: { $ne: null }, destroyed_at: null },
        [{ $set: { periods: perhapsActive } }],
        { session },
      )
  })
  return { from: active.epoch, to }
}

function raced(store: Store): KeyturnError {
  return new KeyturnError(
    'keystore-copied',
    `"${store.db.databaseName}" changed while it was declared`,
    { hint: 'look at it with keyturn status, then repeat this command' },
  )
}
