import type { RemovalOptions } from '../contracts/removal.ts'
import { recordAudit, type AuditEntry } from './audit-outbox.ts'
import type { RemovalRequestDoc } from './documents.ts'
import { keystore } from './keystore.ts'
import { isDuplicateKey } from './server-errors.ts'
import { serverNow, type Store } from './store.ts'
import { inTransaction } from './transaction.ts'

/** The requests in `kek_removals`, written before the workflow that works on them is started. */

export interface NewRemoval extends RemovalOptions {
  /** A new id, of this removal. */
  request: string
  version: number
  requestedBy: string
  /** Nothing is done before this time has passed; 0 for at once. */
  afterMs: number
}

/** Writes a request, and returns the open one: an earlier request if the version had one. */
export async function openRemoval(store: Store, input: NewRemoval): Promise<RemovalRequestDoc> {
  const now = await serverNow(store)
  const row: RemovalRequestDoc = {
    _id: input.request,
    version: input.version,
    requested_by: input.requestedBy,
    requested_at: now,
    not_before: input.afterMs === 0 ? null : new Date(now.getTime() + input.afterMs),
    destroy_hsm_key: input.destroyHsmKey,
    accept_quarantine: input.acceptQuarantine,
    without_fence: input.withoutFence,
    state: 'asked',
    standing: true,
  }
  for (;;) {
    try {
      await keystore.removals(store).insertOne(row)
      return row
    } catch (error) {
      if (!isDuplicateKey(error)) throw error
    }
    const there =
      (await currentRemoval(store, input.version)) ?? (await readRemoval(store, input.request))
    // Otherwise the other request has ended in the meantime.
    if (there !== null) return there
  }
}

export async function readRemoval(
  store: Store,
  request: string,
): Promise<RemovalRequestDoc | null> {
  return keystore.removals(store).findOne({ _id: request })
}

/** The open request of a version. */
export async function currentRemoval(
  store: Store,
  version: number,
): Promise<RemovalRequestDoc | null> {
  return keystore.removals(store).findOne({ version, standing: true })
}

/** Why a request ends without a destroyed version, for the audit. */
export interface Withdrawal {
  reason: string
  /** Who withdrew it; the one who requested it if absent. */
  by?: string
  /** The node that acted; absent for a command. */
  worker?: string
}

function withdrawalEntry(
  { _id, version, requested_by }: RemovalRequestDoc,
  state: 'withdrawn' | 'refused',
  { reason, by, worker }: Withdrawal,
  wasPending: boolean,
): AuditEntry {
  const isRefusal = state === 'refused' && !wasPending
  const planned = wasPending || isRefusal ? {} : { planned: true }
  return {
    actor: by ?? requested_by,
    action: isRefusal ? 'removal-refused' : 'removal-undone',
    subject: `v${version}`,
    details: { request: _id, claimed: true, worker, reason, ...planned },
  }
}

/**
 * Withdraws a request and returns the version to `deactivated`. False if the request is not open, or has destroyed the
 * version. `refused`: a guard withdrew it.
 */
export async function withdrawRemoval(
  store: Store,
  request: string,
  state: 'withdrawn' | 'refused',
  why: Withdrawal,
): Promise<boolean> {
  return inTransaction(store, async (session) => {
    const row = await keystore
      .removals(store)
      .findOneAndUpdate(
        { _id: request, standing: true, state: { $in: ['asked', 'requested'] } },
        { $set: { state, standing: false } },
        { session },
      )
    if (row === null) return false
    const { matchedCount } = await keystore
      .versions(store)
      .updateOne(
        { _id: row.version, 'removal.request': request, destroyed_at: null },
        { $set: { removal: null } },
        { session },
      )
    await recordAudit(store, withdrawalEntry(row, state, why, matchedCount === 1), session)
    return true
  })
}
