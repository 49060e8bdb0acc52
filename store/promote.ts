import type { ClientSession } from 'mongodb'
import { KeyturnError } from '../contracts/errors.ts'
import type { ProofQuestion } from '../contracts/fleet.ts'
import type { ActiveDoc, HeartbeatDoc, RotationDoc } from './documents.ts'
import { recordAudit, type AuditEntry } from './audit-outbox.ts'
import { keystore } from './keystore.ts'
import { enteredNow } from './periods.ts'
import { readHeartbeats } from './process-heartbeats.ts'
import { readQuestions } from './proof-question.ts'
import { recordFleetAtPromote } from './rotation-progress.ts'
import { recordedFleet } from './rotation-record.ts'
import { serverNow, type Store } from './store.ts'
import { inTransaction } from './transaction.ts'

export interface Promotion {
  rotation: string
  from: number
  to: number
  /** The epoch that preflight saw. */
  epoch: number
  /** The node that promotes. */
  worker: string
  /** Returns null if every live process has proven `to`, by the documents in the transaction. */
  proven: (seen: SeenByPromote) => KeyturnError | null
}

/** What promote's transaction reads, in one snapshot. */
export interface SeenByPromote {
  heartbeats: HeartbeatDoc[]
  /** Includes the rotation's question and the processes that answered it. */
  rotation: RotationDoc
  /** The open questions; the current one is the last. */
  questions: ProofQuestion[]
  /** The database's clock, read after them. */
  now: Date
}

/**
 * Makes `to` the active version, in one transaction that writes every row which a cancel, a removal or another attempt also
 * writes: a late one finds that its filter does not match and writes nothing. It happens once or not at all; a repeat that
 * sees its own rotation returns the epoch that it made. Throws `not-ready` (from `proven`), `cancelled` or `no-rotation` if
 * the rotation has ended, `version-not-usable` if `to` lost its mark or is in removal, `not-active` if another version or
 * epoch is active than preflight saw. None of these changes anything.
 */
export async function promote(store: Store, promotion: Promotion): Promise<{ epoch: number }> {
  return inTransaction(store, async (session) => {
    const active = await keystore.active(store).findOne({ _id: 'active' }, { session })
    if (active?.rotation === promotion.rotation && active.version === promotion.to) {
      return { epoch: active.epoch }
    }
    await moveRotation(store, session, promotion)
    await moveVersions(store, session, promotion)
    await moveActive(store, session, promotion, active)
    const seen = await seenIn(store, session, promotion)
    const refusal = promotion.proven(seen)
    if (refusal !== null) throw refusal
    const fleet = recordedFleet(seen.heartbeats, promotion, seen.now)
    await recordFleetAtPromote(store, promotion.rotation, fleet, session)
    await recordAudit(store, promotedEntry(promotion, seen), session)
    return { epoch: promotion.epoch + 1 }
  })
}

function promotedEntry(
  { rotation, from, to, epoch, worker }: Promotion,
  { rotation: row }: SeenByPromote,
): AuditEntry {
  return {
    actor: row.requested_by,
    action: 'rotation-promoted',
    subject: rotation,
    details: { from, to, epoch: epoch + 1, met: row.met ?? [], claimed: true, worker },
  }
}

async function seenIn(
  store: Store,
  session: ClientSession,
  promotion: Promotion,
): Promise<SeenByPromote> {
  const heartbeats = await readHeartbeats(store, session)
  const questions = await readQuestions(store, session)
  const row = await keystore.rotations(store).findOne({ _id: promotion.rotation }, { session })
  if (row === null) throw rotationIsOver(promotion.rotation, null)
  return { heartbeats, questions, rotation: row, now: await serverNow(store) }
}

async function moveRotation(
  store: Store,
  session: ClientSession,
  { rotation, epoch }: Promotion,
): Promise<void> {
  const { matchedCount } = await keystore
    .rotations(store)
    .updateOne(
      { _id: rotation, ended_at: null, promoted_at: null },
      [{ $set: { phase: 'rewrap', promoted_at: '$$NOW', epoch: epoch + 1 } }],
      { session },
    )
  if (matchedCount === 1) return
  const row = await keystore.rotations(store).findOne({ _id: rotation }, { session })
  throw rotationIsOver(rotation, row)
}

function rotationIsOver(rotation: string, row: RotationDoc | null): KeyturnError {
  const code = row?.outcome === 'cancelled' ? 'cancelled' : 'no-rotation'
  return new KeyturnError(code, `rotation "${rotation}" is over: ${row?.outcome ?? 'unknown'}`, {
    hint: 'start another: keyturn rotate',
  })
}

/** Checks this rotation's mark on both rows. It writes the new version's row again, so that its removal conflicts. */
async function moveVersions(
  store: Store,
  session: ClientSession,
  { rotation, from, to, epoch }: Promotion,
): Promise<void> {
  const versions = keystore.versions(store)
  const entered = await versions.updateOne(
    { _id: to, rotation, removal: null, destroyed_at: null, canary: { $ne: null } },
    [
      {
        $set: {
          activated_at: '$$NOW',
          deactivated_at: null,
          left_at: null,
          left_epoch: null,
          periods: enteredNow,
        },
      },
    ],
    { session },
  )
  if (entered.matchedCount === 0) throw notUsable(to, rotation)
  const left = await versions.updateOne(
    { _id: from, rotation },
    [{ $set: { deactivated_at: '$$NOW', left_at: null, left_epoch: epoch + 1 } }],
    { session },
  )
  if (left.matchedCount === 0) throw notUsable(from, rotation)
}

async function moveActive(
  store: Store,
  session: ClientSession,
  { rotation, from, to, epoch }: Promotion,
  active: ActiveDoc | null,
): Promise<void> {
  const { matchedCount } = await keystore
    .active(store)
    .updateOne(
      { _id: 'active', version: from, epoch },
      [{ $set: { version: to, epoch: epoch + 1, rotation: { $literal: rotation }, at: '$$NOW' } }],
      { session },
    )
  if (matchedCount === 1) return
  const now = active === null ? 'none' : `version ${active.version} at epoch ${active.epoch}`
  throw new KeyturnError(
    'not-active',
    `version ${from} is not active at epoch ${epoch} any more: ${now} is`,
    { hint: 'keyturn status shows what is active; start another rotation' },
  )
}

function notUsable(version: number, rotation: string): KeyturnError {
  return new KeyturnError(
    'version-not-usable',
    `version ${version} is not marked for rotation "${rotation}" any more, or in removal`,
    { hint: 'keyturn status shows its state' },
  )
}
